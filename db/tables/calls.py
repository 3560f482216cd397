"""The ledger: calls, what they cost, what is set aside for them."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class CallTable(Base):
    """An answer that was paid for, under the hash of everything that can change it.

    `distributions` is what is kept of its log probabilities, see
    `neurogloss.neurons.distributions`.
    """

    __tablename__ = "call"

    identity: Mapped[bytes] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str]
    endpoint: Mapped[str]
    model: Mapped[str]
    text: Mapped[str]
    finish_reason: Mapped[str | None]
    refusal: Mapped[str | None]
    distributions: Mapped[bytes | None]
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    usd: Mapped[float]
    wasted_usd: Mapped[float]
    attempts: Mapped[int]
    latency_ms: Mapped[int]
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RepeatedCallTable(Base):
    """An answer to a question that was answered before: paid for, and of no use.

    It comes where two processes ask the same at once, one of them having lost its lease. `run_id`
    is who paid. What is in its key tells it from the same answer that is stored once more, because
    nobody heard whether it was.
    """

    __tablename__ = "repeated_call"

    run_id: Mapped[int] = run_key()
    identity: Mapped[bytes] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(primary_key=True)
    attempts: Mapped[int] = mapped_column(primary_key=True)
    latency_ms: Mapped[int] = mapped_column(primary_key=True)
    purpose: Mapped[str]
    endpoint: Mapped[str]
    model: Mapped[str]
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    wasted_usd: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SpendTable(Base):
    """What a run paid, by stage and model, kept in the transaction of the calls."""

    __tablename__ = "spend"

    run_id: Mapped[int] = run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    calls: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    completion_tokens: Mapped[int] = mapped_column(BigInteger)
    usd: Mapped[float]
    wasted_usd: Mapped[float]


class CallMinuteTable(Base):
    """Calls that ended in one minute, by stage, model and outcome.

    The `outcome` is answered, or the failure class of the answer; rate_limited, timeout,
    unavailable or a failure class for a request that brought no answer. `latency_ms` is the sum
    over answers, and `latency_counts` their numbers by `db.call_minutes.LATENCY_BOUNDS_MS`.
    """

    __tablename__ = "call_minute"
    # Updated with every batch of answers: with room in its page, a row needs no new index entries.
    __table_args__ = ({"postgresql_with": {"fillfactor": "70"}},)

    run_id: Mapped[int] = run_key()
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    endpoint: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(primary_key=True)
    calls: Mapped[int]
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    completion_tokens: Mapped[int] = mapped_column(BigInteger)
    usd: Mapped[float]
    latency_ms: Mapped[int] = mapped_column(BigInteger)
    latency_counts: Mapped[list[int]]


class RetriedCallsTable(Base):
    """How many calls of a process are tried again now, and why the last of them failed.

    Written every few seconds while there are any; `seen_at` is when.
    """

    __tablename__ = "retried_calls"

    run_id: Mapped[int] = run_key()
    process: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    endpoint: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    calls: Mapped[int]
    reason: Mapped[str]
    seen_at: Mapped[datetime]


class BudgetHoldTable(Base):
    """What a worker process has set aside of a run's budget, for calls it has not paid yet."""

    __tablename__ = "budget_hold"

    run_id: Mapped[int] = run_key()
    process: Mapped[str] = mapped_column(primary_key=True)
    usd: Mapped[float]
    expires_at: Mapped[datetime]
