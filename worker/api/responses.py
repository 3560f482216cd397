"""Reading what an OpenAI-compatible API answers, and what its errors mean."""

import math
from dataclasses import dataclass

import httpx
import orjson

from worker.errors import (
    BadCredentials,
    NoCredit,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnknownModel,
    WorkerError,
)

MAX_WAIT_S = 120.0  # a daily limit may ask for hours: better look again
_NO_CREDIT = ("insufficient_quota", "exceeded your current quota", "billing_hard_limit")


class WrongTokenLimit(WorkerError):
    """The model wants `max_completion_tokens` where `max_tokens` was sent."""


def check(response: httpx.Response, secret: str | None) -> None:
    """Return for a success, raise what an error means otherwise.

    Raises:
        RateLimited: With the wait that the server asks for.
        ServiceUnavailable: Trying again may help.
        RequestRejected: It would not.
        RunError: It would not for any call.
        WrongTokenLimit: Another name of the token limit would do.
    """
    if response.is_success:
        return
    status, reason = response.status_code, _reason(response, secret)
    shown = f"the endpoint answered {status}: {reason}"
    if status == 402 or (status == 429 and any(word in reason for word in _NO_CREDIT)):
        raise NoCredit(shown)
    if status in (401, 403):
        raise BadCredentials(shown)
    if status == 404:
        raise UnknownModel(shown)
    if status == 429 or (status == 503 and "overloaded" in reason):
        raise RateLimited(retry_after(response.headers), shown)
    if status in (408, 409, 425) or status >= 500:
        raise ServiceUnavailable(shown)
    if status == 400 and "max_completion_tokens" in reason:
        raise WrongTokenLimit(shown)
    raise RequestRejected(shown, request_id=response.headers.get("x-request-id"))


def _reason(response: httpx.Response, secret: str | None) -> str:
    """Return the server's message and code; a key that it repeats is taken out."""
    try:
        error = orjson.loads(response.content)["error"]
        text = f"{error.get('message')} ({error.get('code') or error.get('type')})"
    except (ValueError, KeyError, TypeError, AttributeError):
        text = response.text
    return (text.replace(secret, "[key]") if secret else text)[:300]


def retry_after(headers: httpx.Headers) -> float:
    """Return the seconds to wait: `Retry-After`, else the longest `x-ratelimit-reset-*`, else 1."""
    found = [_seconds(headers.get(name, "")) for name in ("retry-after-ms", "retry-after")]
    if found[0] is not None:
        return min(MAX_WAIT_S, found[0] / 1000)
    if found[1] is not None:
        return min(MAX_WAIT_S, found[1])
    resets = [_seconds(headers.get(f"x-ratelimit-reset-{k}", "")) for k in ("requests", "tokens")]
    return min(MAX_WAIT_S, max([r for r in resets if r is not None], default=1.0))


def _seconds(text: str) -> float | None:
    """Return "2", "120ms", "1s" or "6m0s" in seconds; None for anything else."""
    total, digits = 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    text = text.strip().lower()
    try:
        value = float(text)
        return value if math.isfinite(value) and value >= 0 else None
    except ValueError:
        pass
    while text:
        digits = ""
        while text and (text[0].isdigit() or text[0] == "."):
            digits, text = digits + text[0], text[1:]
        unit = "ms" if text.startswith("ms") else text[:1]
        if not digits or unit not in units:
            return None
        total += float(digits) * units[unit]
        text = text[len(unit) :]
    return total if digits else None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a completion says, as far as it is stored.

    `distributions` is what is kept of its log probabilities, packed; None where none were asked.
    """

    text: str
    finish_reason: str | None
    refusal: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    distributions: bytes | None = None


def read_completion(content: bytes) -> Reading:
    """Read the first choice and the usage of a successful chat completion.

    Raises:
        ServiceUnavailable: The body is cut off, or is no completion.
    """
    try:
        body = orjson.loads(content)
        choice, usage = body["choices"][0], body.get("usage") or {}
        message = choice["message"]
        return Reading(
            text=message.get("content") or "",
            finish_reason=choice.get("finish_reason"),
            refusal=message.get("refusal"),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ServiceUnavailable(f"the answer is no completion: {content[:80]!r}") from error
