"""The time that a server asks to wait: in headers, in fields of an error, or in its words.

Waits are seconds ("20"), spans ("6m0s", "120ms"), or moments: HTTP dates, ISO times, and seconds or
milliseconds since 1970. Whatever a server writes, the wait is between 0.1 s and two minutes.
"""

import math
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from neurogloss.llm.server_error import ServerError

MAX_WAIT_S = 120.0  # a daily limit may ask for hours, and be raised meanwhile
UNNAMED_WAIT_S = 1.0  # where a server refuses and names no wait
_MIN_WAIT_S = 0.1  # "at once" would be asked again as fast as the network allows
_LONGEST_VALUE = 64  # characters of a header or a field that can name a wait
_LONGEST_LIST = 200  # characters of the header `RateLimit`
_FIRST_MOMENT = 1e9  # larger numbers count from 1970; a wait of 30 years is none
_LAST_SECOND = 1e11  # larger ones are in milliseconds, or in their thousandths
_UNIT_NAMES = r"(ms|milliseconds?|d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)(?![a-z])"
_SPAN = re.compile(rf"([0-9]+(?:\.[0-9]+)?)\s*{_UNIT_NAMES}")
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_IN_WORDS = re.compile(
    r"\b(?:retry|try(?:ing)? again|wait|available|resets?)\b[^.0-9]{0,40}"
    rf"((?:[0-9]{{1,18}}(?:\.[0-9]{{1,12}})?\s*{_UNIT_NAMES}(?:\s*(?:,|and)?\s*))+)"
)
# "retry after 12", without a unit, and no moment such as "12:00" or a date
_BARE_IN_WORDS = re.compile(
    r"\b(?:retry|try again)[ _-](?:after|in)[\"']?:? ?"
    r"([0-9]{1,18}(?:\.[0-9]{1,12})?)(?![\w:-]|\.\d)"
)
# The header RateLimit: "limit=9, remaining=0, reset=5", or "default";r=0;t=5
_STRUCTURED = re.compile(r"(?:\breset|;\s*t)=([0-9]{1,18})")
_AFTER = ("retryafter", "retrydelay", "retryafterseconds", "estimatedtime")
_RESETS = ("resetat", "resetsat", "resetin", "resetsin", "resetinseconds", "resetsinseconds")
_AFTER_MS = ("retryafterms", "resetinms", "resetsinms")

Pairs = Iterable[tuple[str, str]]


def retry_after(headers: httpx.Headers, said: ServerError | None = None) -> float:
    """Return the seconds to wait before the next attempt; 1 where the server names none."""
    wait = named_wait(headers, said)
    return UNNAMED_WAIT_S if wait is None else wait


def named_wait(
    headers: httpx.Headers, said: ServerError | None = None, *, of_limits: bool = True
) -> float | None:
    """Return the seconds that a server asks to wait; None if it names none.

    `Retry-After` comes first, then what the error says, then when limits are reset.

    Args:
        headers: Of the response.
        said: The error in it.
        of_limits: Whether a limit was met, so that it matters when limits are reset.
    """
    now = _moment(headers.get("date", "")) or time.time()
    sent: Pairs = [(name.lower(), value) for name, value in headers.multi_items()]
    body: Pairs = said.fields if said else ()
    for found in (
        _of_retry(sent, now),
        _of_retry(body, now),
        _of_words(said.words if said else ""),
        _of_resets(dict(sent), now) if of_limits else None,
        _of_resets(dict(body), now) if of_limits else None,
    ):
        if found is not None:
            return min(MAX_WAIT_S, max(_MIN_WAIT_S, found))
    return None


def _of_retry(pairs: Pairs, now: float) -> float | None:
    """Return the wait that `retry-after-ms`, `Retry-After`, `retryDelay` or their like name."""
    waits: dict[str, float | None] = {}
    for name, value in pairs:
        compact = name.replace("-", "").replace("_", "")
        if compact in _AFTER_MS:
            waits["ms"] = _milliseconds(value)
        elif compact in _AFTER + _RESETS or compact.endswith("retryafter"):
            waits["s"] = seconds_until(value, now)
    return next((wait for kind in ("ms", "s") if (wait := waits.get(kind)) is not None), None)


def _of_words(words: str) -> float | None:
    if match := _IN_WORDS.search(words):
        return _span(match[1])
    bare = _BARE_IN_WORDS.search(words)
    return None if bare is None else _number(bare[1])


def _of_resets(values: dict[str, str], now: float) -> float | None:
    """Return when the last of the limits is reset; of those that are used up, if any is said to be.

    The names are `x-ratelimit-reset`, `x-ratelimit-reset-tokens`, `ratelimit-reset`, and
    `anthropic-ratelimit-requests-reset`; `ratelimit` has all of it in one value.
    """
    if match := _STRUCTURED.search(values.get("ratelimit", "")[:_LONGEST_LIST]):
        return _number(match[1])
    values = {name.replace("rate-limit", "ratelimit"): value for name, value in values.items()}
    resets = {name: value for name, value in values.items() if "ratelimit" in name}
    resets = {name: value for name, value in resets.items() if "reset" in name}
    used_up = {n: v for n, v in resets.items() if values.get(_remaining(n), "").strip() == "0"}
    found = [seconds_until(value, now) for value in (used_up or resets).values()]
    return max((wait for wait in found if wait is not None), default=None)


def _remaining(name: str) -> str:
    return name.replace("reset", "remaining")


def _milliseconds(text: str) -> float | None:
    value = _number(text)
    return None if value is None else value / 1000


def seconds_until(text: str, now: float) -> float | None:
    """Return the seconds that a text names, or until the moment that it names; None for others.

    A moment that is over names no wait: one of the two clocks is wrong.
    """
    text = text.strip()
    if len(text) > _LONGEST_VALUE:
        return None
    value = _number(text)
    if value is not None and value < _FIRST_MOMENT:
        return value
    if value is None and (span := _whole_span(text.lower())) is not None:
        return span
    moment = _since_1970(value) if value is not None else _moment(text)
    return moment - now if moment is not None and moment > now else None


def _number(text: str) -> float | None:
    with suppress(ValueError):
        value = float(text[:_LONGEST_VALUE])
        return value if math.isfinite(value) and value >= 0 else None
    return None


def _since_1970(value: float) -> float:
    while value > _LAST_SECOND:
        value /= 1000
    return value


def _whole_span(text: str) -> float | None:
    """Return "120ms", "1s" or "6m0s" in seconds; None for anything else."""
    return None if _SPAN.sub("", text).strip() else _span(text)


def _span(text: str) -> float | None:
    parts = _SPAN.findall(text)
    return sum(float(n) * _UNITS[_unit(unit)] for n, unit in parts) if parts else None


def _unit(name: str) -> str:
    return "ms" if name.startswith(("ms", "milli")) else name[0]


def _moment(text: str) -> float | None:
    """Return an HTTP date or an ISO time in seconds since 1970; times without a zone are in UTC."""
    if not text or len(text) > _LONGEST_VALUE:
        return None
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError, TypeError, LookupError, OverflowError):
            found = read(text)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return None
