"""Counters of the rehearsal server: requests, answers, faults, tokens, and what they would cost."""

from collections import Counter
from collections.abc import Mapping
from typing import TypedDict

from rehearsal.replies import Usage

# The discount that providers give on batches.
BATCH_PRICE_FACTOR = 0.5
# Enough to find the cause; a run that repeats every question would make a reply of megabytes.
_MAX_REPEATED_SHOWN = 100


class Stats(TypedDict):
    """The account as JSON.

    Every request is counted in exactly one of answered, faults, refused and rejected, except that
    an answer with the fault `slow` is counted in answered too.
    """

    requests: int
    answered: int
    """Requests that got a good answer."""
    refused_429: int
    """Replies with status 429, for any reason."""
    refused: dict[str, int]
    """Replies with status 429 by the limit that was reached: requests, tokens, credit."""
    rejected: dict[str, int]
    """Replies to other errors of the client, by status."""
    faults: dict[str, int]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    usd: float
    distinct_questions: int
    """Different bodies that got a good answer."""
    repeated_questions: int
    """Good answers to bodies that had one already, so that they were paid for twice."""
    repeated_bodies: dict[str, int]
    """Number of good answers to each of these bodies, by SHA-256; the first hundred."""
    max_requests_per_second: int
    """The most requests in one second of the server's clock, without lines of batches."""
    batches: int
    """Batches that were created, including those that failed."""
    batch_lines: int
    """Lines of batches that were processed. They are counted in the requests too."""


class Account:
    """Counts what the server does. As providers do, it charges for useless answers too."""

    def __init__(
        self, *, input_price: float, cached_input_price: float, output_price: float
    ) -> None:
        self._prices = (input_price, cached_input_price, output_price)
        self._batch_tokens: Counter[str] = Counter()
        self._batches = 0
        self._batch_lines = 0
        self._requests = 0
        self._refused: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._answered: dict[bytes, int] = {}
        self._faulty: Counter[bytes] = Counter()
        self._failed: Counter[bytes] = Counter()
        self._repeated: Counter[bytes] = Counter()
        self._second = (0, 0)
        self._busiest = 0

    @property
    def usd(self) -> float:
        """The cost of all answers so far."""
        # Counters subtract key by key and leave out zeros, which `_price` reads as 0 again.
        online = self._tokens - self._batch_tokens
        return self._price(online) + BATCH_PRICE_FACTOR * self._price(self._batch_tokens)

    def replies(self, digest: bytes) -> int:
        """Return how many answers a body has got, good or faulty."""
        return self._answered.get(digest, 0) + self._faulty[digest]

    def seen(self, digest: bytes) -> int:
        """Return how often a body has come and was not refused by a limit."""
        return self.replies(digest) + self._failed[digest]

    def request(self, now: float) -> None:
        self._requests += 1
        # Only the current second is kept, since requests come in the order of the clock.
        second, count = self._second
        self._second = (int(now), count + 1 if second == int(now) else 1)
        self._busiest = max(self._busiest, self._second[1])

    def batch(self) -> None:
        self._batches += 1

    def batch_line(self) -> None:
        self._requests += 1
        self._batch_lines += 1

    def refused(self, reason: str) -> None:
        self._refused[reason] += 1

    def rejected(self, status: int) -> None:
        self._rejected[str(status)] += 1

    def failed(self, digest: bytes, fault: str) -> None:
        """Count a body that gets no answer because of a fault; it costs nothing."""
        self._faults[fault] += 1
        self._failed[digest] += 1

    def slowed(self) -> None:
        self._faults["slow"] += 1

    def answered(
        self, digest: bytes, usage: Usage, fault: str | None, *, in_batch: bool = False
    ) -> None:
        """Count an answer and its cost; `fault` names the fault that makes it useless, if any."""
        tokens = {
            "prompt": usage.prompt_tokens,
            "cached": usage.cached_tokens,
            "completion": usage.completion_tokens,
        }
        self._tokens.update(tokens)
        if in_batch:
            self._batch_tokens.update(tokens)
        # A useless answer is charged, but the next good one to the same body is not its repetition.
        if fault:
            self._faults[fault] += 1
            self._faulty[digest] += 1
            return
        self._answered[digest] = self._answered.get(digest, 0) + 1
        if self._answered[digest] > 1:
            self._repeated[digest] = self._answered[digest]

    def _price(self, tokens: Mapping[str, int]) -> float:
        input_price, cached_input_price, output_price = self._prices
        micro_usd = (
            (tokens["prompt"] - tokens["cached"]) * input_price
            + tokens["cached"] * cached_input_price
            + tokens["completion"] * output_price
        )
        return micro_usd / 1_000_000

    def stats(self) -> Stats:
        repeated = sum(self._repeated.values()) - len(self._repeated)
        shown = list(self._repeated.items())[:_MAX_REPEATED_SHOWN]
        # These faults are replies of status 429 too, without a limit that was reached.
        limited = self._faults["rate_limit"] + self._faults["rate_limit_bare"]
        return Stats(
            requests=self._requests,
            answered=len(self._answered) + repeated,
            refused_429=self._refused.total() + limited,
            refused=dict(self._refused),
            rejected=dict(self._rejected),
            faults={kind: count for kind, count in self._faults.items() if count},
            prompt_tokens=self._tokens["prompt"],
            cached_tokens=self._tokens["cached"],
            completion_tokens=self._tokens["completion"],
            usd=self.usd,
            distinct_questions=len(self._answered),
            repeated_questions=repeated,
            repeated_bodies={digest.hex(): count for digest, count in shown},
            max_requests_per_second=self._busiest,
            batches=self._batches,
            batch_lines=self._batch_lines,
        )
