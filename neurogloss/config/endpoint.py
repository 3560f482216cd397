"""The tables of a run's configuration about endpoints: address, limits, prices, batches."""

import re
from typing import Annotated, Literal

import httpx
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from neurogloss.config.section import Positive, Seconds, Section, Text, TokenCount, TokenPrice

HOLDS_SECRET = "holds_secret"
"""Type of the error about a value that no message may quote."""
# What names a key in a query, or stands there without a name.
_SECRET_QUERY = re.compile(r"[?&][^=&]*(key|token|secret|sig|pass|auth|code|$|&)", re.IGNORECASE)
_WAIT_S = 600.0


class PricesConfig(Section):
    """USD per million tokens."""

    input: TokenPrice
    output: TokenPrice
    cached_input: TokenPrice | None = None


class BatchesConfig(Section):
    """Limits of batches, for an endpoint with mode = "batch".

    A batch is submitted when it has `max_lines` or `max_bytes`, or when its oldest call has waited
    for `fill_s` seconds. `max_enqueued_tokens` limits the prompt tokens of all submitted batches;
    it is lowered when the endpoint refuses a batch for it. Submitted batches are polled every
    `poll_s` seconds.
    """

    # The upper bounds of lines and bytes are those of OpenAI's Batch API.
    max_lines: Annotated[int, Field(ge=1, le=50_000)] = 20_000
    max_bytes: Annotated[int, Field(ge=1_000, le=200_000_000)] = 190_000_000
    max_under_way: Positive = 16
    max_enqueued_tokens: TokenCount | None = None
    fill_s: Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)] = 60.0
    poll_s: Seconds = 15.0


class EndpointConfig(Section):
    """An OpenAI-compatible API and its limits over all workers.

    `api_key_env` names the environment variable that holds the key. `prices` are by model. One
    answer may take `timeout_s` seconds. A server that is away, as while it restarts or loads a
    model, is waited for `wait_s` seconds before the run pauses.
    """

    base_url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    requests_per_minute: Positive | None = None
    tokens_per_minute: TokenCount | None = None
    max_in_flight: Positive = 64
    timeout_s: Seconds = 120.0
    # A key that came after runs were stored: its default is left out, so that they look the same.
    wait_s: Annotated[
        float,
        Field(ge=0, le=7 * 86_400, allow_inf_nan=False, exclude_if=lambda s: s == _WAIT_S),
    ] = _WAIT_S
    mode: Literal["online", "batch"] = "online"
    batches: BatchesConfig = BatchesConfig()
    prices: dict[Text, PricesConfig] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        # The configuration is stored and shown. Other queries pass: stored runs may have them.
        if any(sign in value for sign in "@#") or _SECRET_QUERY.search(value):
            raise PydanticCustomError(
                HOLDS_SECRET,
                "an address without user, password and key is needed, as it is stored and shown: "
                "the key goes into the environment variable that api_key_env names",
            )
        try:
            host = httpx.URL(value).host
        except httpx.InvalidURL as error:
            raise ValueError(f"it is not a URL: {error}") from None
        if not host:
            raise ValueError("it is not a URL: there is no host in it")
        return value
