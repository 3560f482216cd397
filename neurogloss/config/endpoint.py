"""The tables of a run's configuration that say how an endpoint is asked."""

from typing import Annotated, Literal

import httpx
from pydantic import Field, field_validator

from neurogloss.config.section import Amount, Positive, Seconds, Section, Text, TokenCount


class PricesConfig(Section):
    """USD per million tokens."""

    input: Amount
    output: Amount
    cached_input: Amount | None = None


class BatchesConfig(Section):
    """How questions are put into batches, where an endpoint has mode = "batch".

    A batch is submitted when it is full, or when its oldest question has waited for `fill_s`.
    `max_enqueued_tokens` are prompt tokens of all batches under way; what the endpoint refuses
    lowers it.
    """

    max_lines: Annotated[int, Field(ge=1, le=50_000)] = 20_000
    max_bytes: Annotated[int, Field(ge=1_000, le=200_000_000)] = 190_000_000
    max_under_way: Positive = 16
    max_enqueued_tokens: TokenCount | None = None
    fill_s: Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)] = 60.0
    poll_s: Seconds = 15.0


class EndpointConfig(Section):
    """An OpenAI-compatible API with its limits; the key is read from the environment, by name."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    requests_per_minute: Positive | None = None
    tokens_per_minute: TokenCount | None = None
    max_in_flight: Positive = 64
    timeout_s: Seconds = 120.0
    mode: Literal["online", "batch"] = "online"
    batches: BatchesConfig = BatchesConfig()
    prices: dict[Text, PricesConfig] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        try:
            host = httpx.URL(value).host
        except httpx.InvalidURL as error:
            raise ValueError(f"it is no URL: {error}") from None
        if not host:
            raise ValueError("it is no URL: there is no host in it")
        return value
