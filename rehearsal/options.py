"""The options of a rehearsal server, checked when it starts."""

from dataclasses import dataclass, field

from rehearsal.capabilities import ALL_CAPABILITIES, Capabilities
from rehearsal.faults import FaultRates


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Duration, faults and limits of batches."""

    seconds: float = 2.0
    """The time that a batch takes; 0 is as fast as possible."""
    expiries: int = 0
    """How many batches, from the first, expire when half of their lines are answered."""
    line_failures: float = 0.0
    """Share of lines that fail; a line that is sent again is decided anew."""
    max_lines: int = 50_000
    max_bytes: int = 200 * 1024**2
    max_enqueued_tokens: int | None = None
    """A batch that would exceed this, together with all unfinished ones, fails validation."""

    def __post_init__(self) -> None:
        if not 0 <= self.line_failures <= 1:
            raise ValueError(f"line_failures: {self.line_failures} is not from 0 to 1")
        for name in ("seconds", "expiries"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is negative")
        for name in ("max_lines", "max_bytes", "max_enqueued_tokens"):
            if (limit := getattr(self, name)) is not None and limit < 1:
                raise ValueError(f"{name}: {limit} lets no batch through, use 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalOptions:
    """Options of the rehearsal server. Prices are in USD per million tokens."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 chooses any free port."""
    seed: int = 0
    latency_ms: float = 0.0
    latency_jitter_ms: float = 0.0
    """An answer takes latency_ms plus a random time up to this."""
    slow_seconds: float = 5.0
    """The time that the fault `slow` adds."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Limits the tokens of prompts and answers, not those that max_tokens would allow."""
    reasoning_tokens: int = 0
    """How many tokens a chat model thinks before an answer: half to one and a half times so many,
    which are counted and charged, and not sent."""
    api_key: str | None = field(default=None, repr=False)
    faults: FaultRates = field(default_factory=FaultRates)
    capabilities: Capabilities = ALL_CAPABILITIES
    context_tokens: int | None = None
    """A prompt with more tokens is refused with 400, as by a model with this context."""
    credit_usd: float | None = None
    """Once this much is spent, every request gets 429 insufficient_quota."""
    models: tuple[str, ...] = ("rehearsal",)
    """The names of the models that exist; with an empty tuple, any name will do."""
    input_price: float = 0.15
    cached_input_price: float = 0.075
    output_price: float = 0.60
    batches: BatchOptions = field(default_factory=BatchOptions)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: {self.port} is not a port, use 0 to 65535")
        for name in ("requests_per_minute", "tokens_per_minute", "context_tokens"):
            if (limit := getattr(self, name)) is not None and limit < 1:
                raise ValueError(f"{name}: {limit} lets nothing through, use 1 or more, or None")
        for name in _NOT_NEGATIVE:
            if (value := getattr(self, name)) is not None and value < 0:
                raise ValueError(f"{name}: {value} is negative")


_NOT_NEGATIVE = (
    "latency_ms",
    "latency_jitter_ms",
    "slow_seconds",
    "reasoning_tokens",
    "credit_usd",
    "input_price",
    "cached_input_price",
    "output_price",
)
