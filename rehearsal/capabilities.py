"""The features that this server can pretend to lack, and how it refuses them."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from rehearsal.replies import ApiError

Feature = Literal["completions", "echo", "logprobs", "prompt_logprobs", "json_schema", "batches"]
FEATURES: Final[tuple[Feature, ...]] = get_args(Feature)
MOST_LOGPROBS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The features of the server. Real servers lack some, which a client has to find out."""

    without: frozenset[Feature] = frozenset()
    reasoning: bool = False
    """Behave as reasoning models do: no `max_tokens`, no `temperature`, no log probabilities."""
    max_logprobs: int = MOST_LOGPROBS
    """The largest number of alternatives at a token."""

    def __post_init__(self) -> None:
        if unknown := sorted(self.without - set(FEATURES)):
            raise ValueError(f"without: {unknown[0]!r} is none of {', '.join(FEATURES)}")
        if not 0 <= self.max_logprobs <= MOST_LOGPROBS:
            raise ValueError(f"max_logprobs: {self.max_logprobs} is not from 0 to {MOST_LOGPROBS}")

    def require(self, feature: Feature, param: str) -> None:
        """Refuse a request that needs a feature.

        Raises:
            ApiError: 400 if it is missing.
        """
        if feature in self.without:
            raise ApiError(
                400,
                f"Unsupported parameter: '{param}' is not supported with this model.",
                code="unsupported_parameter",
                param=param,
            )

    def require_logprobs(self, count: int, param: str) -> None:
        """Refuse a request for more alternatives at a token than the server gives.

        Raises:
            ApiError: 400 if `count` is too large, or there are no log probabilities.
        """
        self.require("logprobs", param)
        if count > self.max_logprobs:
            raise ApiError(
                400,
                f"Invalid value for '{param}': must be less than or equal to {self.max_logprobs}.",
                code="integer_above_max_value",
                param=param,
            )

    def refuse_as_reasoning_model(
        self, *, max_tokens: bool, logprobs: bool, temperature: float | None
    ) -> None:
        """Refuse parameters that reasoning models do not take; the flags say which are there.

        Raises:
            ApiError: 400 for the first of them, if this is a reasoning model.
        """
        if not self.reasoning:
            return
        if max_tokens:
            raise _unsupported("max_tokens", "Use 'max_completion_tokens' instead.")
        if logprobs:
            raise _unsupported("logprobs", "")
        if temperature is not None and temperature != 1:
            message = (
                f"Unsupported value: 'temperature' does not support {temperature:g} with this "
                "model. Only the default (1) value is supported."
            )
            raise ApiError(400, message, code="unsupported_value", param="temperature")


ALL_CAPABILITIES: Final = Capabilities()


def _unsupported(param: str, advice: str) -> ApiError:
    message = f"Unsupported parameter: '{param}' is not supported with this model. {advice}"
    return ApiError(400, message.strip(), code="unsupported_parameter", param=param)
