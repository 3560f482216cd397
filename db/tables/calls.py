"""The ledger: calls, what they cost, what is set aside for them."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Integer,
    Named,
    Table,
    Text,
    TypedColumns,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.tables.base import METADATA, TIMESTAMPTZ, run_key


class CallColumns(TypedColumns):
    """An answer that was paid for, under the hash of everything that can change it.

    `distributions` is what is kept of its log probabilities, see
    `neurogloss.neurons.distributions`.
    """

    identity: Named[bytes] = Column(primary_key=True)
    run_id: Named[int] = Column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    purpose: Named[str] = Column(Text)
    endpoint: Named[str] = Column(Text)
    model: Named[str] = Column(Text)
    text: Named[str] = Column(Text)
    finish_reason: Named[str | None] = Column(Text)
    refusal: Named[str | None] = Column(Text)
    distributions: Named[bytes | None]
    prompt_tokens: Named[int]
    cached_tokens: Named[int]
    completion_tokens: Named[int]
    usd: Named[float] = Column(Double)
    wasted_usd: Named[float] = Column(Double)
    attempts: Named[int]
    latency_ms: Named[int]
    request_id: Named[str | None] = Column(Text)
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


call_table = Table("call", METADATA, CallColumns)


class RepeatedCallColumns(TypedColumns):
    """An answer to a question that was answered before: paid for, and of no use.

    It comes where two processes ask the same at once, one of them having lost its lease. `run_id`
    is who paid. What is in its key tells it from the same answer that is stored once more, because
    nobody heard whether it was.
    """

    run_id: Named[int] = run_key()
    identity: Named[bytes] = Column(primary_key=True)
    request_id: Named[str] = Column(Text, primary_key=True)
    attempts: Named[int] = Column(primary_key=True)
    latency_ms: Named[int] = Column(primary_key=True)
    purpose: Named[str] = Column(Text)
    endpoint: Named[str] = Column(Text)
    model: Named[str] = Column(Text)
    prompt_tokens: Named[int]
    cached_tokens: Named[int]
    completion_tokens: Named[int]
    wasted_usd: Named[float] = Column(Double)
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


repeated_call_table = Table("repeated_call", METADATA, RepeatedCallColumns)


class SpendColumns(TypedColumns):
    """What a run paid, by stage and model, kept in the transaction of the calls."""

    run_id: Named[int] = run_key()
    stage: Named[str] = Column(Text, primary_key=True)
    model: Named[str] = Column(Text, primary_key=True)
    calls: Named[int] = Column(BigInteger)
    prompt_tokens: Named[int] = Column(BigInteger)
    cached_tokens: Named[int] = Column(BigInteger)
    completion_tokens: Named[int] = Column(BigInteger)
    usd: Named[float] = Column(Double)
    wasted_usd: Named[float] = Column(Double)


spend_table = Table("spend", METADATA, SpendColumns)


class CallMinuteColumns(TypedColumns):
    """Calls that ended in one minute, by stage, model and outcome.

    The `outcome` is answered, or the failure class of the answer; rate_limited, timeout,
    unavailable or a failure class for a request that brought no answer. `latency_ms` is the sum
    over answers, and `latency_counts` their numbers by `db.call_minutes.LATENCY_BOUNDS_MS`.
    """

    run_id: Named[int] = run_key()
    minute: Named[datetime] = Column(TIMESTAMPTZ, primary_key=True)
    stage: Named[str] = Column(Text, primary_key=True)
    endpoint: Named[str] = Column(Text, primary_key=True)
    model: Named[str] = Column(Text, primary_key=True)
    outcome: Named[str] = Column(Text, primary_key=True)
    calls: Named[int]
    prompt_tokens: Named[int] = Column(BigInteger)
    cached_tokens: Named[int] = Column(BigInteger)
    completion_tokens: Named[int] = Column(BigInteger)
    usd: Named[float] = Column(Double)
    latency_ms: Named[int] = Column(BigInteger)
    latency_counts: Named[list[int]] = Column(ARRAY(Integer))


call_minute_table = Table(
    "call_minute",
    METADATA,
    CallMinuteColumns,
    # Updated with every batch of answers: with room in its page, a row needs no new index entries.
    postgresql_with={"fillfactor": "70"},
)


class RetriedCallsColumns(TypedColumns):
    """How many calls of a process are tried again now, and why the last of them failed.

    Written every few seconds while there are any; `seen_at` is when.
    """

    run_id: Named[int] = run_key()
    process: Named[str] = Column(Text, primary_key=True)
    stage: Named[str] = Column(Text, primary_key=True)
    endpoint: Named[str] = Column(Text, primary_key=True)
    model: Named[str] = Column(Text, primary_key=True)
    calls: Named[int]
    reason: Named[str] = Column(Text)
    seen_at: Named[datetime] = Column(TIMESTAMPTZ)


retried_calls_table = Table("retried_calls", METADATA, RetriedCallsColumns)


class BudgetHoldColumns(TypedColumns):
    """What a worker process has set aside of a run's budget, for calls it has not paid yet."""

    run_id: Named[int] = run_key()
    process: Named[str] = Column(Text, primary_key=True)
    usd: Named[float] = Column(Double)
    expires_at: Named[datetime] = Column(TIMESTAMPTZ)


budget_hold_table = Table("budget_hold", METADATA, BudgetHoldColumns)
