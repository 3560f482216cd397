"""What is asked, and how far it is: runs, neurons, shards, counters, workers."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from db.tables.base import METADATA, TIMESTAMPTZ, run_key


class RunColumns(TypedColumns):
    """One frozen configuration over a set of neurons.

    `simulator` is how the simulator was found to be asked when the run was created; NULL where
    the configuration says it. While its `state` is importing, it is not a run yet. `paused_at` is
    NULL unless it is paused, and for runs that were paused before it was kept. `folder` is that of
    the run file, which relative paths in the configuration start from; NULL in runs without a file,
    and in those stored before it was kept.
    """

    id: Named[int] = Column(Identity(), primary_key=True)
    name: Named[str] = Column(Text, unique=True)
    config: Named[dict[str, Any]] = Column(JSONB)
    config_hash: Named[str] = Column(Text)
    corpus_id: Named[int] = Column(ForeignKey("corpus.id"))
    n_layers: Named[int] = Column(SmallInteger)
    neurons_per_layer: Named[int]
    state: Named[str] = Column(Text, server_default="running")
    pause_cause: Named[str | None] = Column(Text)
    pause_reason: Named[str | None] = Column(Text)
    budget_usd: Named[float | None] = Column(Double)
    simulator: Named[dict[str, Any] | None] = Column(JSONB)
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())
    finished_at: Named[datetime | None] = Column(TIMESTAMPTZ)
    batches_due_at: Named[datetime | None] = Column(TIMESTAMPTZ)
    paused_at: Named[datetime | None] = Column(TIMESTAMPTZ)
    folder: Named[str | None] = Column(Text)


run_table = Table(
    "run",
    METADATA,
    RunColumns,
    CheckConstraint(
        "state IN ('running', 'paused', 'done', 'cancelled', 'importing')",
        name="state_is_known",
    ),
)


class NeuronColumns(TypedColumns):
    """A neuron that the run is about.

    `is_ablated` and `has_control` mark those that the stages `ablate` and `control` are about.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    is_ablated: Named[bool] = Column(server_default="false")
    has_control: Named[bool] = Column(server_default="false")


neuron_table = Table("neuron", METADATA, NeuronColumns)


class ShardColumns(TypedColumns):
    """The part of a stage that one task does, and who is doing it.

    `start` up to, not including, `stop` counts excerpts in the steps of `collect` that read text,
    and neurons of `layer` elsewhere. Of its `weight`, `done` and `failed` are counted in the
    progress of its stage. `asked` says that its questions were put into batches. `token` rises with
    every claim: results are accepted from the latest claimant only. While one has it, `fraction` is
    how much of it was done at the last heartbeat. A shard of `collect` should take `expected_s`
    seconds, and took `took_s`: the time left is told by both.
    """

    id: Named[int] = Column(BigInteger, Identity(), primary_key=True)
    run_id: Named[int] = Column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    stage: Named[str] = Column(Text)
    step: Named[str] = Column(Text, server_default="")
    layer: Named[int] = Column(SmallInteger)
    start: Named[int]
    stop: Named[int]
    weight: Named[int]
    done: Named[int] = Column(server_default="0")
    failed: Named[int] = Column(server_default="0")
    state: Named[str] = Column(Text, server_default="waiting")
    attempts: Named[int] = Column(server_default="0")
    token: Named[int] = Column(server_default="0")
    asked: Named[bool] = Column(server_default="false")
    lease_until: Named[datetime | None] = Column(TIMESTAMPTZ)
    worker: Named[str | None] = Column(Text)
    error: Named[str | None] = Column(Text)
    fraction: Named[float] = Column(REAL, server_default="0")
    claimed_at: Named[datetime | None] = Column(TIMESTAMPTZ)
    expected_s: Named[float] = Column(REAL, server_default="0")
    took_s: Named[float | None] = Column(REAL)


shard_table = Table(
    "shard",
    METADATA,
    ShardColumns,
    Index(
        # Dispatchers ask for open shards several times a second; done ones are nearly all in
        # the end.
        "ix_shard_open",
        "run_id",
        "stage",
        "id",
        postgresql_where=text("state IN ('ready', 'queued', 'leased')"),
    ),
    # Other stages begin as soon as the few shards of collect are done; each tick looks at
    # these.
    Index("ix_shard_collect", "run_id", postgresql_where=text("stage = 'collect'")),
    CheckConstraint(
        "state IN ('waiting', 'ready', 'queued', 'leased', 'done')",
        name="state_is_known",
    ),
    # Leases are renewed all the time: with room in its page, an updated row needs no new index
    # entries.
    postgresql_with={"fillfactor": "70"},
)


class ProgressColumns(TypedColumns):
    """Counters of a stage, kept in the transaction of the result. Layer -1 is the whole model."""

    run_id: Named[int] = run_key()
    stage: Named[str] = Column(Text, primary_key=True)
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    total: Named[int]
    done: Named[int] = Column(server_default="0")
    failed: Named[int] = Column(server_default="0")
    last_result_at: Named[datetime | None] = Column(TIMESTAMPTZ)


progress_table = Table("progress", METADATA, ProgressColumns)


class ThroughputColumns(TypedColumns):
    """What a stage finished in each minute, from which rates and ETAs are read."""

    run_id: Named[int] = run_key()
    stage: Named[str] = Column(Text, primary_key=True)
    minute: Named[datetime] = Column(TIMESTAMPTZ, primary_key=True)
    finished: Named[int]


throughput_table = Table("throughput", METADATA, ThroughputColumns)


class WorkerColumns(TypedColumns):
    """A worker process and when it last said that it lives."""

    worker: Named[str] = Column(Text, primary_key=True)
    queue: Named[str] = Column(Text)
    host: Named[str] = Column(Text)
    started_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())
    heartbeat_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())
    finished: Named[int] = Column(BigInteger, server_default="0")


worker_table = Table("worker", METADATA, WorkerColumns)
