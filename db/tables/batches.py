"""Questions that are asked in batches."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Named,
    Table,
    Text,
    TypedColumns,
    func,
    text,
)

from db.tables.base import METADATA, TIMESTAMPTZ, run_key


class BatchColumns(TypedColumns):
    """A file of questions that an endpoint answers in its own time.

    `mark` is our name for it, which the endpoint keeps beside its own, `batch_id`: so it is found
    again if we crash while it is created. `outcome` is what became of it. `enqueued_tokens` are its
    own prompt tokens and those of all batches that were under way when it was made.
    """

    id: Named[int] = Column(BigInteger, Identity(), primary_key=True)
    run_id: Named[int] = Column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    mark: Named[str] = Column(Text, unique=True)
    endpoint: Named[str] = Column(Text)
    model: Named[str] = Column(Text)
    path: Named[str] = Column(Text)
    state: Named[str] = Column(Text, server_default="building")
    outcome: Named[str | None] = Column(Text)
    file_id: Named[str | None] = Column(Text)
    batch_id: Named[str | None] = Column(Text)
    n_requests: Named[int]
    prompt_tokens: Named[int] = Column(BigInteger)
    enqueued_tokens: Named[int] = Column(BigInteger)
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())
    ended_at: Named[datetime | None] = Column(TIMESTAMPTZ)


batch_table = Table(
    "batch",
    METADATA,
    BatchColumns,
    CheckConstraint(
        "state IN ('building', 'uploaded', 'submitted', 'ended')", name="state_is_known"
    ),
)


class BatchRequestColumns(TypedColumns):
    """A question that is to be asked in a batch. It goes when its answer is in the ledger.

    `batch` is the one that it is in, if it is in one; `failure_class` says that it will not be
    answered.
    """

    run_id: Named[int] = run_key()
    identity: Named[bytes] = Column(primary_key=True)
    purpose: Named[str] = Column(Text)
    endpoint: Named[str] = Column(Text)
    model: Named[str] = Column(Text)
    path: Named[str] = Column(Text)
    body: Named[bytes]
    prompt_tokens: Named[int]
    max_completion_tokens: Named[int]
    batch: Named[int | None] = Column(BigInteger, ForeignKey("batch.id"), index=True)
    attempts: Named[int] = Column(server_default="0")
    failure_class: Named[str | None] = Column(Text)
    message: Named[str | None] = Column(Text)
    request_id: Named[str | None] = Column(Text)
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


batch_request_table = Table(
    "batch_request",
    METADATA,
    BatchRequestColumns,
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


class BatchWaitColumns(TypedColumns):
    """A shard that waits for the answer to a question. It is not begun while it waits for any."""

    shard_id: Named[int] = Column(
        BigInteger, ForeignKey("shard.id", ondelete="CASCADE"), primary_key=True
    )
    identity: Named[bytes] = Column(primary_key=True)
    run_id: Named[int] = Column(ForeignKey("run.id", ondelete="CASCADE"))


batch_wait_table = Table(
    "batch_wait",
    METADATA,
    BatchWaitColumns,
    # The key begins with the shard; an answer ends the waits of all shards for its call.
    Index("ix_batch_wait_run_id_identity", "run_id", "identity"),
)
