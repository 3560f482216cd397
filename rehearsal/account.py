"""What the rehearsal server did and what it would have cost."""

from collections import Counter
from collections.abc import Mapping
from typing import TypedDict

from rehearsal.replies import Usage

BATCH_PRICE_FACTOR = 0.5
_REPEATED_SHOWN = 100


class Stats(TypedDict):
    """The account as JSON. Every request is in exactly one of answered, faults, refused, rejected.

    (`slow` aside: a slow answer is an answer too.)
    """

    requests: int
    answered: int
    """Answered with what was asked."""
    refused_429: int
    """All replies with status 429, whatever the reason."""
    refused: dict[str, int]
    """429 for the limits and the credit: requests, tokens, credit."""
    rejected: dict[str, int]
    """Other errors of the client, by status."""
    faults: dict[str, int]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    usd: float
    distinct_questions: int
    """Bodies that were answered with what was asked."""
    repeated_questions: int
    """Answers to bodies that had such an answer already: what was paid for twice."""
    repeated_bodies: dict[str, int]
    """How often each of these was answered, by SHA-256 of the body; the first hundred."""
    max_requests_per_second: int
    """In a second of the server's clock; lines of batches do not count."""
    batches: int
    """Batches that were created, failed ones too."""
    batch_lines: int
    """Lines of batches that were attempted. They are among the requests."""


class Account:
    """Counts. Money and tokens are counted for answers of no use too, as providers do."""

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
        self._spoilt: Counter[bytes] = Counter()
        self._failed: Counter[bytes] = Counter()
        self._repeated: Counter[bytes] = Counter()
        self._second = (0, 0)
        self._busiest = 0

    @property
    def usd(self) -> float:
        """What all answers cost so far."""
        online = self._tokens - self._batch_tokens
        return self._price(online) + BATCH_PRICE_FACTOR * self._price(self._batch_tokens)

    def replies(self, digest: bytes) -> int:
        """Return how many answers a body got, of use or not."""
        return self._answered.get(digest, 0) + self._spoilt[digest]

    def seen(self, digest: bytes) -> int:
        """Return how often a body came and was not held up by a limit."""
        return self.replies(digest) + self._failed[digest]

    def request(self, now: float) -> None:
        self._requests += 1
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
        """Count a body that gets no answer; this costs nothing."""
        self._faults[fault] += 1
        self._failed[digest] += 1

    def slowed(self) -> None:
        self._faults["slow"] += 1

    def answered(
        self, digest: bytes, usage: Usage, fault: str | None, *, in_batch: bool = False
    ) -> None:
        """Count an answer and what it costs; `fault` names what makes it useless."""
        tokens = {
            "prompt": usage.prompt_tokens,
            "cached": usage.cached_tokens,
            "completion": usage.completion_tokens,
        }
        self._tokens.update(tokens)
        if in_batch:
            self._batch_tokens.update(tokens)
        if fault:
            self._faults[fault] += 1
            self._spoilt[digest] += 1
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
        shown = list(self._repeated.items())[:_REPEATED_SHOWN]
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
