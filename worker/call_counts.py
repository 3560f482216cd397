"""Counting answers by the minute: what `db.call_minutes` stores of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from db.call_minutes import ANSWERED, CallCount, latency_counts
from neurogloss.errors import RowError
from neurogloss.llm.calls import Answer

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
