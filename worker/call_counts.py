"""Counting calls by the minute: what `db.call_minutes` stores of them."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence

from db.call_minutes import ANSWERED, CallCount, latency_counts, summed
from neurogloss.errors import RowError
from neurogloss.llm.calls import Answer, Call

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
    """Return the failure class of an answer that is of no use by itself; else that it is one."""
    outcome = answer.outcome()
    return outcome.failure_class if isinstance(outcome, RowError) else ANSWERED


class UnansweredCalls:
    """Requests that brought no answer, counted until they are stored. Safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: list[CallCount] = []

    def add(self, call: Call, endpoint: str, outcome: str) -> None:
        """Count a request."""
        self.put_back([CallCount(call.purpose, endpoint, call.model, outcome, calls=1)])

    def take(self) -> list[CallCount]:
        """Return what was counted, and forget it."""
        with self._lock:
            taken, self._counts = self._counts, []
        return taken

    def put_back(self, counts: Sequence[CallCount]) -> None:
        """Count what could not be stored."""
        if counts:
            with self._lock:
                self._counts = summed([*self._counts, *counts])
