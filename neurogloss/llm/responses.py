"""Reading the responses of an OpenAI-compatible API, and classifying its errors."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from neurogloss.errors import (
    BadCredentials,
    NeuroglossError,
    NoCredit,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnknownModel,
)
from neurogloss.llm.calls import Answer
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.server_text import request_id, server_text, without_key
from neurogloss.llm.token_logprobs import chat_places, first_place, prompt_places

_SHOWN_OF_ANSWER = 80
_SHORTEST_SECRET = 16  # characters of a key that is worth hiding in the text of an answer
MAX_WAIT_S = 120.0  # a daily limit may ask for hours, and be raised meanwhile
_MOST_TOKENS = 2**31 - 1  # that the database holds
_NO_CREDIT = ("insufficient_quota", "exceeded your current quota", "billing_hard_limit")
_PARAMETERS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "prompt_logprobs",
    "logprobs",
    "response_format",
    "echo",
)
_OF_PARAMETERS = (400, 403, 422, 500)  # statuses: llama-cpp-python says 500 to a wrong request
_NAMED = re.compile(rf"\b({'|'.join(_PARAMETERS)})\b")
_UNSUPPORTED = re.compile(
    r"unsupported|not support|not allowed|unrecognized|unexpected|not permitted|extra_forbidden"
    r"|literal_error|use 'max_completion_tokens'|use max_completion_tokens",
    re.IGNORECASE,
)


class UnsupportedParameter(NeuroglossError):
    """The model does not take a parameter, or this value of it."""

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(parameter, reason)
        self.parameter = parameter
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def raise_for_error(response: httpx.Response, secret: str | None) -> None:
    """Raise the error that a response reports; return if it is a success.

    Args:
        response: Read to its end.
        secret: The key, which is removed from messages.

    Raises:
        RateLimited: With the wait that the server asks for.
        ServiceUnavailable: The same request may succeed later.
        RequestRejected: The same request would be rejected again.
        RunError: Every request of the run would fail alike.
        UnsupportedParameter: The request may succeed without the parameter.
    """
    if response.is_success:
        return
    status, reason = response.status_code, _reason(response, secret)
    shown = f"the endpoint answered {status}: {reason}"
    # OpenAI reports an empty account as a rate limit, which waiting would not lift.
    if status == 402 or (status == 429 and any(word in reason for word in _NO_CREDIT)):
        raise NoCredit(shown)
    # Before the key is blamed: some servers answer 403 to a parameter.
    parameter = _unsupported(response) if status in _OF_PARAMETERS else None
    if parameter is not None:
        raise UnsupportedParameter(parameter, shown)
    if status in (401, 403):
        raise BadCredentials(shown)
    if status == 404:
        raise UnknownModel(shown)
    if status == 429 or (status == 503 and "overloaded" in reason):
        raise RateLimited(retry_after(response.headers), shown)
    if status in (408, 409, 425) or status >= 500:
        raise ServiceUnavailable(shown)
    raise RequestRejected(shown, request_id=request_id(response, secret))


def _reason(response: httpx.Response, secret: str | None) -> str:
    """Return the server's message and code."""
    try:
        error = orjson.loads(response.content)["error"]
        text = f"{error.get('message')} ({error.get('code') or error.get('type')})"
    except (ValueError, KeyError, TypeError, AttributeError):
        text = response.text
    return server_text(text, secret)


def _unsupported(response: httpx.Response) -> str | None:
    """Return the parameter that an error calls unsupported, if it does."""
    text = response.text[:2000]
    if not _UNSUPPORTED.search(text):
        return None
    try:
        # OpenAI names it; "response_format.json_schema" stands for "response_format".
        parameter = orjson.loads(response.content)["error"]["param"]
    except (ValueError, KeyError, TypeError):
        parameter = None
    if isinstance(parameter, str) and parameter.split(".")[0] in _PARAMETERS:
        return parameter.split(".")[0]
    # The message names the parameter to use instead.
    if "max_completion_tokens" in text:
        return "max_tokens"
    match = _NAMED.search(text)
    return match[1] if match else None


def retry_after(headers: httpx.Headers) -> float:
    """Return the seconds to wait: `Retry-After`, else the longest `x-ratelimit-reset-*`, else 1."""
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return min(MAX_WAIT_S, milliseconds / 1000)
    seconds = _seconds(headers.get("retry-after", ""))
    if seconds is not None:
        return min(MAX_WAIT_S, seconds)
    resets = [_seconds(headers.get(f"x-ratelimit-reset-{k}", "")) for k in ("requests", "tokens")]
    return min(MAX_WAIT_S, max([r for r in resets if r is not None], default=1.0))


_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _seconds(text: str) -> float | None:
    """Return "2", "120ms", "1s" or "6m0s" in seconds; None for anything else."""
    text = text.strip().lower()
    try:
        value = float(text)
        return value if math.isfinite(value) and value >= 0 else None
    except ValueError:
        spans = _SPAN.findall(text)
    if not spans or _SPAN.sub("", text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in spans)


@dataclass(frozen=True, slots=True)
class Completion:
    """The parts of a completion that are stored.

    Attributes:
        text: Generated text, without an echo of the prompt.
        distributions: What is kept of its log probabilities, packed; None where there are none.
    """

    text: str
    finish_reason: str | None
    refusal: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    distributions: bytes | None = None

    def answer(
        self,
        *,
        identity: bytes,
        purpose: str,
        endpoint: Endpoint,
        model: str,
        attempts: int,
        latency_ms: int,
        request_id: str | None,
        wasted_usd: float = 0.0,
        price_factor: float = 1.0,
    ) -> Answer:
        """Return the answer to a call, at the prices of its endpoint times `price_factor`.

        An answer that was cut off is of no use: its price adds to `wasted_usd`.
        """
        usage = (self.prompt_tokens, self.cached_tokens, self.completion_tokens)
        usd = price_factor * endpoint.price(model).cost(*usage)
        cut_off = self.finish_reason == "length"
        return Answer(
            identity=identity,
            purpose=purpose,
            endpoint=endpoint.name,
            model=model,
            text=self.text,
            finish_reason=self.finish_reason,
            refusal=self.refusal,
            distributions=self.distributions,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            usd=0.0 if cut_off else usd,
            wasted_usd=wasted_usd + (usd if cut_off else 0.0),
            attempts=attempts,
            latency_ms=latency_ms,
            request_id=request_id,
        )


def read_completion(
    content: bytes, request: Mapping[str, Any] | None = None, secret: str | None = None
) -> Completion:
    """Read the first choice and the usage of a successful completion, of a chat or of a prompt.

    Args:
        content: The body of the response.
        request: The body of the request. A prompt in it may be echoed, and an answer of one token
            that was limited to one is complete: its `finish_reason` becomes `stop`.
        secret: The key, which is removed from messages, a refusal's among them.

    Raises:
        ServiceUnavailable: The body is cut off, or is no completion.
    """
    request = request or {}
    try:
        body = orjson.loads(content)
        choice = body["choices"][0]
        read_choice = _read_prompt_choice if "prompt" in request else _read_chat_choice
        text, refusal, distributions = read_choice(choice, body, request)
        return Completion(
            text=_answer_text(text, secret) or "",
            finish_reason=_finish_reason(choice, request),
            refusal=_answer_text(refusal, secret),
            **_usage(body.get("usage") or {}),
            distributions=distributions,
        )
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        # The whole of a key that begins in what is shown has to be seen before the text is cut.
        start = server_text(repr(content[:100_000]), secret)[:_SHOWN_OF_ANSWER]
        raise ServiceUnavailable(f"the answer is no completion: {start}") from error


Choice = tuple[str | None, str | None, bytes | None]  # text, refusal, distributions


def _read_chat_choice(
    choice: Mapping[str, Any], body: object, request: Mapping[str, Any]
) -> Choice:
    message = choice["message"]
    text = message.get("content") or ""
    logprobs = (choice.get("logprobs") or {}).get("content")
    distributions = None
    if logprobs is not None:
        is_one_token = _limit(request) == 1
        distributions = first_place(logprobs) if is_one_token else chat_places(logprobs, text)
    return text, message.get("refusal"), distributions


def _read_prompt_choice(
    choice: Mapping[str, Any], body: Mapping[str, Any], request: Mapping[str, Any]
) -> Choice:
    prompt = request["prompt"]
    text = choice["text"].removeprefix(prompt) if request.get("echo") else choice["text"]
    return text, None, prompt_places(choice, body, prompt)


def _finish_reason(choice: Mapping[str, Any], request: Mapping[str, Any]) -> str | None:
    reason = _storable(choice.get("finish_reason"))
    # A prompt with echo is answered by one token, or none, and always "cut off" there.
    return "stop" if reason == "length" and _limit(request) in (0, 1) else reason


def _limit(request: Mapping[str, Any]) -> Any:
    return request.get("max_completion_tokens", request.get("max_tokens"))


def _answer_text(text: object, secret: str | None) -> str | None:
    """Return a model's text without our key, which messages about the answer would quote."""
    stored = _storable(text)
    # "EMPTY" and other keys of servers that want none may be words of an explanation.
    if stored is None or secret is None or len(secret) < _SHORTEST_SECRET:
        return stored
    return without_key(stored, secret)


def _storable(text: object) -> str | None:
    """Return a text without NUL, which the database does not take.

    Raises:
        TypeError: It is not a text.
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise TypeError(type(text).__name__)
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    details = usage.get("prompt_tokens_details") or {}
    prompt_tokens = _count(usage.get("prompt_tokens"))
    return {
        "prompt_tokens": prompt_tokens,
        # Some servers report more than the prompt has, which would make the rest of it negative.
        "cached_tokens": min(prompt_tokens, _count(details.get("cached_tokens"))),
        "completion_tokens": _count(usage.get("completion_tokens")),
    }


def _count(value: Any) -> int:
    return min(max(0, int(value or 0)), _MOST_TOKENS)
