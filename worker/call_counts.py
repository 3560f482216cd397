"""Counting answers by the minute: what `db.call_minutes` stores of them."""

from collections.abc import Iterable

from db.call_minutes import ANSWERED, CallCount, in_bucket, summed
from neurogloss.errors import RowError
from neurogloss.llm.calls import Answer


def counts_of(answers: Iterable[Answer]) -> list[CallCount]:
    """Return what these answers add to the minute in which they are stored."""
    return summed(map(_count_of, answers))


def _count_of(answer: Answer) -> CallCount:
    return CallCount(
        stage=answer.purpose,
        endpoint=answer.endpoint,
        model=answer.model,
        outcome=_outcome_of(answer),
        calls=1,
        prompt_tokens=answer.prompt_tokens,
        cached_tokens=answer.cached_tokens,
        completion_tokens=answer.completion_tokens,
        usd=answer.usd + answer.wasted_usd,
        latency_ms=answer.latency_ms,
        latency_counts=in_bucket(answer.latency_ms),
    )


def _outcome_of(answer: Answer) -> str:
    """Return the failure class of an answer that is of no use by itself; else that it is one."""
    outcome = answer.outcome()
    return outcome.failure_class if isinstance(outcome, RowError) else ANSWERED
