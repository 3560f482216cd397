"""An OpenAI-compatible API: its address, its limits and its prices."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from neurogloss.config.endpoint import EndpointConfig, PricesConfig
from neurogloss.errors import BadCredentials

BATCH_PRICE_FACTOR = 0.5
"""Price of a call in a batch over its price online, at OpenAI and at those that follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float
    cached_input: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if a price is negative, infinite or no number."""
        prices = (self.input, self.output, self.cached_input or 0.0)
        if not all(0 <= price < math.inf for price in prices):
            raise ValueError(f"prices must be finite and not negative: {prices}")

    @classmethod
    def from_config(cls, config: PricesConfig) -> Self:
        """Return the price that a run configuration states."""
        return cls(input=config.input, output=config.output, cached_input=config.cached_input)

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
        """Return the USD of a call, which is never negative.

        `prompt_tokens` includes the cached ones, as usage does. Counts may be a server's: negative
        ones count as 0, and no more tokens are cached than the prompt has.
        """
        prompt, completion = max(0, prompt_tokens), max(0, completion_tokens)
        cached = min(max(0, cached_tokens), prompt)
        cached_price = self.input if self.cached_input is None else self.cached_input
        usd = (prompt - cached) * self.input + cached * cached_price + completion * self.output
        return usd / 1e6


FREE = Price(input=0.0, output=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One API under one key.

    The limits per minute hold for each model, `max_in_flight` for all models together. `timeout_s`
    is for one answer; `wait_s` is how long a server that is away is waited for.
    """

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_in_flight: int = 64
    prices: Mapping[str, Price] = field(default_factory=dict)
    timeout_s: float = 120.0
    wait_s: float = 600.0

    @classmethod
    def from_config(cls, name: str, config: EndpointConfig, env: Mapping[str, str]) -> Self:
        """Return an endpoint of a run configuration, with its key from the environment.

        Raises:
            BadCredentials: The variable that should hold the key is not set, or holds no key.
        """
        return cls(
            name=name,
            base_url=config.base_url,
            api_key=_key(name, config.api_key_env, env),
            requests_per_minute=config.requests_per_minute,
            tokens_per_minute=config.tokens_per_minute,
            max_in_flight=config.max_in_flight,
            prices={model: Price.from_config(price) for model, price in config.prices.items()},
            timeout_s=config.timeout_s,
            wait_s=config.wait_s,
        )

    def price(self, model: str) -> Price:
        """Return a model's price; a model without one is free, as on a server of one's own."""
        return self.prices.get(model, FREE)

    @property
    def account(self) -> str:
        """A hash of address and key: endpoints of any name that share it share their limits."""
        secret = f"{self.base_url.rstrip('/')}\n{self.api_key or ''}"
        # A hash: it becomes part of keys in Redis, which must not reveal the API key.
        return hashlib.sha256(secret.encode()).hexdigest()[:16]


def _key(name: str, variable: str | None, env: Mapping[str, str]) -> str | None:
    if variable is None:
        return None
    key = env.get(variable)
    if not key:
        raise BadCredentials(f"{variable} is not set, which endpoint {name!r} needs")
    # Also what would split or spoil a header, as a line break at the end of a secrets file does.
    if not all("!" <= character <= "~" for character in key):
        raise BadCredentials(
            f"{variable} holds a space, a line break or another character no key has"
        )
    return key
