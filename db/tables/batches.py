"""Questions that are asked in batches."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class BatchTable(Base):
    """A file of questions that an endpoint answers in its own time.

    `mark` is our name for it, which the endpoint keeps beside its own, `batch_id`: so it is found
    again if we crash while it is created. `outcome` is what became of it. `enqueued_tokens` are its
    own prompt tokens and those of all batches that were under way when it was made.
    """

    __tablename__ = "batch"
    __table_args__ = (
        CheckConstraint(
            "state IN ('building', 'uploaded', 'submitted', 'ended')", name="state_is_known"
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    mark: Mapped[str] = mapped_column(unique=True)
    endpoint: Mapped[str]
    model: Mapped[str]
    path: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="building")
    outcome: Mapped[str | None]
    file_id: Mapped[str | None]
    batch_id: Mapped[str | None]
    n_requests: Mapped[int]
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    enqueued_tokens: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class BatchRequestTable(Base):
    """A question that is to be asked in a batch. It goes when its answer is in the ledger.

    `batch` is the one that it is in, if it is in one; `failure_class` says that it will not be
    answered.
    """

    __tablename__ = "batch_request"
    __table_args__ = (
        Index(
            # A batch takes the oldest pending requests of one endpoint, model and path; all others
            # are left out of the index.
            "ix_batch_request_pending",
            "run_id",
            "endpoint",
            "model",
            "path",
            "created_at",
            postgresql_where=text("batch IS NULL AND failure_class IS NULL"),
        ),
    )

    run_id: Mapped[int] = run_key()
    identity: Mapped[bytes] = mapped_column(primary_key=True)
    purpose: Mapped[str]
    endpoint: Mapped[str]
    model: Mapped[str]
    path: Mapped[str]
    body: Mapped[bytes]
    prompt_tokens: Mapped[int]
    max_completion_tokens: Mapped[int]
    batch: Mapped[int | None] = mapped_column(ForeignKey("batch.id"), index=True)
    attempts: Mapped[int] = mapped_column(server_default="0")
    failure_class: Mapped[str | None]
    message: Mapped[str | None]
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class BatchWaitTable(Base):
    """A shard that waits for the answer to a question. It is not begun while it waits for any."""

    __tablename__ = "batch_wait"
    # The key begins with the shard; an answer ends the waits of all shards for its call.
    __table_args__ = (Index("ix_batch_wait_run_id_identity", "run_id", "identity"),)

    shard_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("shard.id", ondelete="CASCADE"), primary_key=True
    )
    identity: Mapped[bytes] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
