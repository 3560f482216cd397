"""The meaning of an error of an OpenAI-compatible API for the call, the neuron and the run.

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
from neurogloss.llm.error_words import (
    BAD_KEY,
    CLOSED,
    CONTEXT,
    FLAGGED,
    FORMAT,
    LARGER_THAN_LIMIT,
    LOADING,
    NO_CREDIT,
    NO_JSON_MADE,
    NO_MODEL,
    OF_FORMAT,
    OF_RATE,
    OUT_OF_BOUNDS,
    OVERLOAD,
    PLAIN_HTTP,
    QUOTA,
    UNSUPPORTED,
)
from neurogloss.llm.json_text import without_half_surrogates
from neurogloss.llm.retry_after import UNNAMED_WAIT_S, named_wait
from neurogloss.llm.server_error import ServerError
from neurogloss.llm.server_text import request_id, server_text

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
_OF_STYLE = ("temperature", "top_p", "seed")
_OF_PARAMETERS = (400, 403, 404, 415, 422, 500, 501)  # llama-cpp-python: 500 to a wrong request
_AWAY = (502, 503, 504)
_OF_ACCOUNTS = (400, 403, 412, 429)  # Fireworks: 412
_NO_ORIGIN = (521, 522, 523, 525, 526, 530)  # Cloudflare's: the server behind it is not there
_OVERLOADED = (498, 529)  # Groq's and Anthropic's


_NAMED = re.compile(rf"\b({'|'.join(_PARAMETERS)})\b")


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
    # Some servers say with every answer when limits are reset: it means nothing beside a fault.
    wait = named_wait(response.headers, said, of_limits=said.may_be(429, *_OVERLOADED))
    # The order matters: an empty account may look like a rate limit, a flagged question (403) like
    # a refused key, an unknown parameter (404) like an unknown model. Each is looked for before the
    # meaning that its status alone suggests.
    for meaning in (_account, _loading, _key, _question, _parameter, _rate, _path, _service):
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
    if said.status == 402 or NO_CREDIT.search(said.label):
        return NoCredit(shown)
    if not said.may_be(*_OF_ACCOUNTS):
        return None
    comes_back = wait is not None or OF_RATE.search(said.words)
    if NO_CREDIT.search(said.words) or (QUOTA.search(said.words) and not comes_back):
        return NoCredit(shown)
    return None


def _loading(said: ServerError, shown: str, wait: float | None) -> Meaning:
    is_said = said.may_be(400, 404, 409, 425, 429, 500, *_AWAY) and LOADING.search(said.words)
    return EndpointAway(shown, wait) if is_said else None


def _question(said: ServerError, shown: str, wait: float | None) -> Meaning:
    """This question alone is at fault: too long, flagged, or answered outside its schema."""
    too_long = LARGER_THAN_LIMIT if said.status == 429 else CONTEXT
    is_too_long = said.may_be(400, 422, 429, 500) and too_long.search(said.words)
    if said.status == 413 or is_too_long:
        return ContextExceeded(shown)
    if said.may_be(400, 403, 422, 451, 500) and _is_flagged(said):
        return Refused(shown)
    if said.may_be(400, 422) and NO_JSON_MADE.search(said.words):
        return Malformed(shown)
    return None


def _is_flagged(said: ServerError) -> bool:
    is_quoted = any(name == "flagged_input" for name, _ in said.fields)
    return is_quoted or FLAGGED.search(said.words) is not None


def _key(said: ServerError, shown: str, wait: float | None) -> Meaning:
    if said.status == 401 and NO_MODEL.search(said.label):
        return None
    if said.status in (401, 407):
        return BadCredentials(shown)
    is_refused = BAD_KEY.search(said.words) or CLOSED.search(said.words)
    return BadCredentials(shown) if said.may_be(*_OF_ACCOUNTS[:3]) and is_refused else None


def _parameter(said: ServerError, shown: str, wait: float | None) -> Meaning:
    parameter = _unsupported(said) if said.may_be(*_OF_PARAMETERS) else None
    return None if parameter is None else UnsupportedParameter(parameter, shown)


def _unsupported(said: ServerError) -> str | None:
    """Return the parameter that an error calls unsupported, if it does."""
    # Formats are refused in any words: nobody can know them all, and a call can do without.
    named = said.param.split(".")[0]
    if named == FORMAT or OF_FORMAT.search(said.words):
        return FORMAT
    if OUT_OF_BOUNDS.search(said.words):
        return _out_of_bounds(named, said.words)
    if not UNSUPPORTED.search(said.words):
        return None
    # OpenAI and FastAPI name it; "logprobs.top" stands for "logprobs".
    if named in _PARAMETERS:
        return named
    # The message names the parameter to use instead.
    if "max_completion_tokens" in said.words:
        return "max_tokens"
    return _named_in(said.words)


def _out_of_bounds(named: str, words: str) -> str | None:
    """Return the parameter whose value is not taken, if a call can do without it.

    Fewer log probabilities may be taken, and without a limit of tokens no call is sent.
    """
    found = named if named in _PARAMETERS else _named_in(words)
    return found if found in _OF_STYLE else None


def _named_in(words: str) -> str | None:
    """Return the parameter that a message names, of several the one that matters least."""
    found = _NAMED.findall(words)
    return "top_p" if "top_p" in found else next(iter(found), None)


def _rate(said: ServerError, shown: str, wait: float | None) -> Meaning:
    is_limit = said.status in (429, *_OVERLOADED) or OF_RATE.search(said.label)
    is_worded = said.may_be(400, 402, 403) and OF_RATE.search(said.words)
    is_busy = said.may_be(500, 502, 503) and OVERLOAD.search(said.words)
    if is_limit or is_worded or is_busy:
        return RateLimited(UNNAMED_WAIT_S if wait is None else wait, shown)
    return None


def _path(said: ServerError, shown: str, wait: float | None) -> Meaning:
    """The model, or the path, is not there for this key."""
    if said.may_be(400, 401, 403) and NO_MODEL.search(said.words):
        return UnknownModel(shown)
    if said.status in (404, 405, 410, 501):
        return UnknownModel(shown)
    if said.status == 400 and PLAIN_HTTP.search(said.words):
        return UnknownModel(f"{shown}: base_url has to begin with https")
    if 300 <= said.status < 400:
        return UnknownModel(f"{shown}: base_url has to be the address that it leads to")
    return BadCredentials(shown) if said.status == 403 else None


def _service(said: ServerError, shown: str, wait: float | None) -> Meaning:
    is_page = said.status in _AWAY and not said.is_json  # of a proxy whose server is gone
    if said.status == 503 or said.status in _NO_ORIGIN or is_page:
        return EndpointAway(shown, wait)
    if said.status in (0, 408, 409, 424, 425, 460, 499) or said.status >= 500:
        return ServiceUnavailable(shown) if wait is None else EndpointAway(shown, wait)
    return None
