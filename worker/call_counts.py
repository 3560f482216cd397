"""Counting calls: what `db.call_minutes` and `db.unanswered` store of them."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from db.call_minutes import ANSWERED, CallCount, latency_counts, summed
from db.unanswered import RATE_LIMITED, TIMEOUT, UNAVAILABLE, RetriedCalls
from neurogloss.errors import (
    AnswerTimeout,
    NeuroglossError,
    RateLimited,
    RowError,
    ServiceUnavailable,
)
from neurogloss.llm.calls import Answer, Call

REASON_CHARACTERS = 300
_ADDED = ("prompt_tokens", "cached_tokens", "completion_tokens")


def counts_of(answers: Iterable[Answer]) -> list[CallCount]:
    """Return what these answers add to the minute in which they are stored."""
    groups: dict[tuple[str, str, str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.purpose, answer.endpoint, answer.model, _outcome_of(answer)].append(answer)
    return [_count(key, group) for key, group in groups.items()]


def _count(key: tuple[str, str, str, str], answers: Sequence[Answer]) -> CallCount:
    return CallCount(
        *key,
        calls=len(answers),
        **{name: sum(getattr(answer, name) for answer in answers) for name in _ADDED},
        usd=sum(answer.usd + answer.wasted_usd for answer in answers),
        latency_ms=sum(answer.latency_ms for answer in answers),
        latency_counts=latency_counts(answer.latency_ms for answer in answers),
    )


def _outcome_of(answer: Answer) -> str:
    """Return the failure class of an answer that is of no use by itself, else ANSWERED."""
    outcome = answer.outcome()
    return outcome.failure_class if isinstance(outcome, RowError) else ANSWERED


class UnansweredCalls:
    """Requests that brought no answer, and the calls that are tried again.

    Requests are counted until the counts are taken. Safe to use from threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: list[CallCount] = []
        self._retried: dict[bytes, RetriedCalls] = {}

    def failed(self, call: Call, identity: bytes, endpoint: str, error: NeuroglossError) -> None:
        """Note a request that brought no answer, if that is not about the whole run."""
        if (outcome := _outcome_without_answer(error)) is None:
            return
        self.put_back([CallCount(call.purpose, endpoint, call.model, outcome, calls=1)])
        with self._lock:
            reason = str(error)[:REASON_CHARACTERS]
            self._retried[identity] = RetriedCalls(call.purpose, endpoint, call.model, 1, reason)

    def ended(self, identity: bytes) -> None:
        """Note that a call is not tried again, because it has an answer or was given up."""
        with self._lock:
            self._retried.pop(identity, None)

    def take(self) -> list[CallCount]:
        """Return what was counted, and forget it."""
        with self._lock:
            taken, self._counts = self._counts, []
        return taken

    def put_back(self, counts: Sequence[CallCount]) -> None:
        """Count what could not be stored."""
        if counts:
            with self._lock:
                # Summed at once, so that the counts stay few however long the database is away.
                self._counts = summed([*self._counts, *counts])

    def retried(self) -> list[RetriedCalls]:
        """Return how many calls are tried again now, by stage and model."""
        with self._lock:
            calls = list(self._retried.values())
        numbers = Counter(row[:3] for row in calls)
        reasons = {row[:3]: row.reason for row in calls}
        return [RetriedCalls(*key, n, reasons[key]) for key, n in sorted(numbers.items())]


def _outcome_without_answer(error: NeuroglossError) -> str | None:
    """Return the outcome of a request without an answer; None for errors about the whole run."""
    if isinstance(error, RateLimited):
        return RATE_LIMITED
    if isinstance(error, AnswerTimeout):
        return TIMEOUT
    if isinstance(error, ServiceUnavailable):
        return UNAVAILABLE
    return error.failure_class if isinstance(error, RowError) else None
