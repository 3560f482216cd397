"""What an error of an OpenAI-compatible API means for the call, the neuron and the run.

Status codes alone do not tell: OpenAI reports an empty account as a rate limit, Gemini a rate limit
as an exceeded quota, OpenRouter a flagged question as a refused key. So the meaning comes from all
that the server said.
"""

import re

import httpx

from neurogloss.errors import (
    BadCredentials,
    ContextExceeded,
    EndpointAway,
    Malformed,
    NeuroglossError,
    NoCredit,
    RateLimited,
    Refused,
    RequestRejected,
    ServiceUnavailable,
    UnknownModel,
)
from neurogloss.llm.json_text import without_half_surrogates
from neurogloss.llm.retry_after import UNNAMED_WAIT_S, named_wait
from neurogloss.llm.server_error import ServerError
from neurogloss.llm.server_text import request_id, server_text

FORMAT = "response_format"
_PARAMETERS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "prompt_logprobs",
    "logprobs",
    FORMAT,
    "echo",
    "seed",
)
_OF_PARAMETERS = (400, 403, 404, 415, 422, 500, 501)  # llama-cpp-python: 500 to a wrong request
_AWAY = (502, 503, 504)
_OVERLOADED = (498, 529)  # Groq's and Anthropic's


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives))


_NAMED = re.compile(rf"\b({'|'.join(_PARAMETERS)})\b")
_UNSUPPORTED = _words(
    "unsupported",
    "not support",
    r"n't support",
    "not allowed",
    "unrecognized",
    "unexpected",
    "not permitted",
    "unavailable",
    "not available",
    "unknown (?:name|field|parameter|argument)",
    "extra_forbidden",
    "literal_error",
    "use '?max_completion_tokens",
)
_OF_FORMAT = _words(
    FORMAT,
    r"json[_ -]?(?:schema|object|mode)",
    r"structured[_ -]?outputs?",
    r"guided[_ -]?(?:json|decoding|grammar)",
    "grammar",
    r"response[_ ]?(?:schema|format|mime)",
    r"\bschemas?\b",
)
_NO_CREDIT = _words(
    "insufficient[ _](?:quota|balance|credits?|funds)",
    "billing_(?:hard_limit|not_active|error)",
    "billing hard limit",
    r"credit[ _](?:balance|limit)",
    "credit_balance_exhausted",
    "(?:spend|usage)_limit_(?:reached|exceeded)",
    "enforced_spend_limit",
    "requires more credits",
    "out of credits?",
    "payment[ _]required",
    "account is not active",
    "exceeded_current_quota_error",
)
_QUOTA = _words("exceeded your current quota", "quota exceeded", "quota has been exceeded")
_OF_RATE = _words(
    "rate[ _-]?limit",
    "too[ _]many[ _](?:requests|concurrent)",
    "resource[ _]?(?:has been )?exhausted",
    r"per[ _-]?(?:minute|second|hour|day)",
    "throttl",
    "capacity[ _]exceeded",
    "in_flight_budget_exhausted",
)
_CONTEXT = _words(
    "context[ _]length",
    "exceed_context_size",
    "context[ _](?:size|window)",
    "maximum context",
    "max_model_len",
    "(?:prompt|input) is too long",
    "prompt too long",
    "max_tokens must be at least 1, got -",
    "request too large",
    "request_too_large",
    "reduce the length of",
    "input token count.{0,40}exceeds",
    "too many (?:input )?tokens",
    "input is too large",
    "string_above_max_length",
)
_LARGER_THAN_LIMIT = _words("request too large", "tokens must be reduced")
"""One question that is larger than a limit per minute, which waiting would not lift."""
_FLAGGED = _words(
    "content[ _](?:filter|policy|management|moderation)",
    "contentpolicy",
    "responsibleaipolicy",
    "moderation",
    r"\bflagged\b",
    "data_inspection_failed",
    "inappropriate content",
    "content exists risk",
    "usage polic",
    "prohibited_content",
    "safety[ _](?:system|filter|settings?|reasons?)",
    "invalid_prompt",
)
_BAD_KEY = _words(
    r"(?:invalid|incorrect|wrong|missing|expired|no)[ _]api[ _-]?key",
    r"api[ _-]?key[ _](?:not valid|invalid|expired|not found|is invalid)",
    "authentication_error",
    "authentication fail",
    "unauthenticated",
    "invalid_authentication",
    "user not found",
    "no auth credentials",
)
_NO_MODEL = _words(
    r"model[ _](?:is[ _])?not[ _](?:found|exist|available)",
    r"model\b.{0,120}\b(?:does not exist|not found|is not available|not exist)",
    "non-serverless model",
    "dedicated_endpoint_not_running",
    "not a valid model",
    "invalid[ _]model",
    "unknown[ _]model",
    "deploymentnotfound",
)
_OVERLOAD = _words("overload", "slow_down", "server busy", "at capacity")
_LOADING = _words(r"loading (?:the )?model", r"model is (?:currently )?loading", "still loading")
_NO_JSON_MADE = _words("json_validate_failed")


class UnsupportedParameter(NeuroglossError):
    """The model does not take a parameter, or this value of it."""

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(parameter, reason)
        self.parameter = parameter
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def error_for(
    said: ServerError, response: httpx.Response, secret: str | None = None
) -> NeuroglossError:
    """Return the error that a response stands for.

    Args:
        said: What the server said of it.
        response: Where it said so.
        secret: The key, which is removed from messages.
    """
    shown = f"the endpoint answered {response.status_code}: {_reason(said, secret)}"
    wait = named_wait(response.headers, said)
    for meaning in (_account, _question, _key, _parameter, _rate, _path, _service):
        if (error := meaning(said, shown, wait)) is not None:
            return error
    return RequestRejected(shown, request_id=request_id(response, secret))


def _reason(said: ServerError, secret: str | None) -> str:
    label = said.code or said.kind
    reason = f"{said.message} ({label})" if label else said.message
    return server_text(without_half_surrogates(reason), secret)


Meaning = NeuroglossError | None


def _account(said: ServerError, shown: str, wait: float | None) -> Meaning:
    """Nothing is left to spend. A quota that comes back by itself is a rate limit."""
    if "in_flight_budget_exhausted" in said.words:
        return None
    if said.status == 402 or _NO_CREDIT.search(said.label):
        return NoCredit(shown)
    if not said.may_be(400, 403, 429):
        return None
    comes_back = wait is not None or _OF_RATE.search(said.words)
    if _NO_CREDIT.search(said.words) or (_QUOTA.search(said.words) and not comes_back):
        return NoCredit(shown)
    return None


def _question(said: ServerError, shown: str, wait: float | None) -> Meaning:
    """This question alone is at fault: too long, flagged, or answered outside its schema."""
    too_long = _LARGER_THAN_LIMIT if said.status == 429 else _CONTEXT
    is_too_long = said.may_be(400, 422, 429, 500) and too_long.search(said.words)
    if said.status == 413 or is_too_long:
        return ContextExceeded(shown)
    if said.may_be(400, 403, 422, 451, 500) and _is_flagged(said):
        return Refused(shown)
    if said.may_be(400, 422) and _NO_JSON_MADE.search(said.words):
        return Malformed(shown)
    return None


def _is_flagged(said: ServerError) -> bool:
    is_quoted = any(name == "flagged_input" for name, _ in said.fields)
    return is_quoted or _FLAGGED.search(said.words) is not None


def _key(said: ServerError, shown: str, wait: float | None) -> Meaning:
    if said.status in (401, 407):
        return BadCredentials(shown)
    if said.may_be(400, 403) and _BAD_KEY.search(said.words):
        return BadCredentials(shown)
    return None


def _parameter(said: ServerError, shown: str, wait: float | None) -> Meaning:
    parameter = _unsupported(said) if said.may_be(*_OF_PARAMETERS) else None
    return None if parameter is None else UnsupportedParameter(parameter, shown)


def _unsupported(said: ServerError) -> str | None:
    """Return the parameter that an error calls unsupported, if it does."""
    # Formats are refused in any words: nobody can know them all, and a call can do without.
    named = said.param.split(".")[0]
    if named == FORMAT or _OF_FORMAT.search(said.words):
        return FORMAT
    if not _UNSUPPORTED.search(said.words):
        return None
    # OpenAI and FastAPI name it; "logprobs.top" stands for "logprobs".
    if named in _PARAMETERS:
        return named
    # The message names the parameter to use instead.
    if "max_completion_tokens" in said.words:
        return "max_tokens"
    match = _NAMED.search(said.words)
    return match[1] if match else None


def _rate(said: ServerError, shown: str, wait: float | None) -> Meaning:
    is_limit = said.status == 429 or said.status in _OVERLOADED
    is_worded = said.may_be(402, 403) and _OF_RATE.search(said.words)
    is_worded = is_worded or _OF_RATE.search(said.label)
    is_busy = said.may_be(500, 502, 503) and _OVERLOAD.search(said.words)
    if is_limit or is_worded or is_busy:
        return RateLimited(UNNAMED_WAIT_S if wait is None else wait, shown)
    return None


def _path(said: ServerError, shown: str, wait: float | None) -> Meaning:
    """The model, or the path, is not there for this key."""
    if said.may_be(400, 403) and _NO_MODEL.search(said.words):
        return UnknownModel(shown)
    if said.status in (404, 405, 410):
        return UnknownModel(shown)
    if 300 <= said.status < 400:
        return UnknownModel(f"{shown}: base_url has to be the address that it leads to")
    return BadCredentials(shown) if said.status == 403 else None


def _service(said: ServerError, shown: str, wait: float | None) -> Meaning:
    if said.may_be(*_AWAY, 500) and _LOADING.search(said.words):
        return EndpointAway(shown, wait)
    is_page = said.status in _AWAY and not said.is_json  # of a proxy whose server is gone
    if said.status == 503 or is_page:
        return EndpointAway(shown, wait)
    if said.status in (0, 408, 409, 424, 425) or said.status >= 500:
        return ServiceUnavailable(shown) if wait is None else EndpointAway(shown, wait)
    return None
