"""An OpenAI-compatible API: where it is, what it allows, what it costs."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float
    cached_input: float | None = None

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
        """Return the USD of a call; `prompt_tokens` includes the cached ones, as usage does."""
        cached_price = self.input if self.cached_input is None else self.cached_input
        uncached = prompt_tokens - cached_tokens
        usd = uncached * self.input + cached_tokens * cached_price + completion_tokens * self.output
        return usd / 1e6


FREE = Price(input=0.0, output=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One API under one key. Its limits hold for each model, `max_in_flight` for all together."""

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_in_flight: int = 64
    prices: Mapping[str, Price] = field(default_factory=dict)
    timeout_s: float = 120.0

    def price(self, model: str) -> Price:
        """Return a model's price; without one it costs nothing, as on an own server."""
        return self.prices.get(model, FREE)

    @property
    def account(self) -> str:
        """A name for what limits are counted by, under whatever name: the address and the key."""
        secret = f"{self.base_url.rstrip('/')}\n{self.api_key or ''}"
        return hashlib.sha256(secret.encode()).hexdigest()[:16]
