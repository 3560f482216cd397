"""Limits on requests and tokens per minute, enforced continuously rather than by the minute."""

from dataclasses import dataclass
from typing import Literal

BURST_S = 1.0  # worth of a limit that passes at once
_ROUNDING_S = 1e-6  # shorter waits are errors of rounding


class ContinuousLimit:
    """A limit that refills continuously (generic cell rate algorithm).

    At most one second's worth passes at once. A larger amount passes alone, when nothing is owed.
    Times are seconds of any monotonic clock.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._per_second = per_minute / 60
        self._paid_until = 0.0

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until `amount` may pass; 0 if it may now."""
        takes = amount / self._per_second
        wait = self._owed(now) + takes - max(BURST_S, takes)
        return wait if wait > _ROUNDING_S else 0.0

    def take(self, amount: float, now: float) -> None:
        self._paid_until = now + self._owed(now) + amount / self._per_second

    def remaining(self, now: float) -> int:
        """Return the amount that may pass at once now."""
        return max(0, int((BURST_S - self._owed(now) + _ROUNDING_S) * self._per_second))

    def reset_ms(self, now: float) -> int:
        """Return the milliseconds until nothing is owed."""
        return round(1000 * self._owed(now))

    def _owed(self, now: float) -> float:
        return max(0.0, self._paid_until - now)


@dataclass(frozen=True, slots=True)
class Wait:
    """The limit that a request has to wait for, and for how many seconds."""

    kind: Literal["requests", "tokens"]
    seconds: float


class RateLimits:
    """Both limits of an endpoint, either of which may be absent."""

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._requests = ContinuousLimit(requests_per_minute) if requests_per_minute else None
        self._tokens = ContinuousLimit(tokens_per_minute) if tokens_per_minute else None

    def wait(self, tokens: int, now: float) -> Wait | None:
        """Return the longest wait of a request with this many tokens; None if it may pass now."""
        waits = [
            Wait("requests", self._requests.wait(1, now) if self._requests else 0.0),
            Wait("tokens", self._tokens.wait(tokens, now) if self._tokens else 0.0),
        ]
        longest = max(waits, key=lambda wait: wait.seconds)
        return longest if longest.seconds > 0 else None

    def take(self, tokens: int, now: float) -> None:
        """Charge one request with this many tokens; 0 for one that fails without an answer."""
        if self._requests:
            self._requests.take(1, now)
        if self._tokens:
            self._tokens.take(tokens, now)

    def headers(self, now: float) -> dict[str, str]:
        """Return the x-ratelimit-* headers of the existing limits."""
        headers = {}
        for kind, limit in (("requests", self._requests), ("tokens", self._tokens)):
            if limit:
                headers[f"x-ratelimit-limit-{kind}"] = str(limit.per_minute)
                headers[f"x-ratelimit-remaining-{kind}"] = str(limit.remaining(now))
                headers[f"x-ratelimit-reset-{kind}"] = f"{limit.reset_ms(now)}ms"
        return headers
