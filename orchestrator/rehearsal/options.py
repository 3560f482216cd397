"""What a rehearsal server is told when it starts."""

from dataclasses import dataclass, field

from orchestrator.rehearsal.faults import FaultRates


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalOptions:
    """Options of the rehearsal server. Prices are in USD per million tokens."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes any free port."""
    seed: int = 0
    latency_ms: float = 0.0
    latency_jitter_ms: float = 0.0
    """An answer takes latency_ms and up to this much more."""
    slow_seconds: float = 5.0
    """What the fault `slow` adds."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Prompt and completion tokens that are used, not those that max_tokens would allow."""
    api_key: str | None = field(default=None, repr=False)
    faults: FaultRates = field(default_factory=FaultRates)
    credit_usd: float | None = None
    """Once this much is spent, every question gets 429 insufficient_quota."""
    models: tuple[str, ...] = ("rehearsal",)
    """The names it answers to; an empty tuple takes any name."""
    input_price: float = 0.15
    cached_input_price: float = 0.075
    output_price: float = 0.60

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: {self.port} is not a port, use 0 to 65535")
        for name in ("requests_per_minute", "tokens_per_minute"):
            if (limit := getattr(self, name)) is not None and limit < 1:
                raise ValueError(f"{name}: {limit} lets nothing through, use 1 or more, or None")
        for name in _NOT_NEGATIVE:
            if (value := getattr(self, name)) is not None and value < 0:
                raise ValueError(f"{name}: {value} is negative")


_NOT_NEGATIVE = (
    "latency_ms",
    "latency_jitter_ms",
    "slow_seconds",
    "credit_usd",
    "input_price",
    "cached_input_price",
    "output_price",
)
