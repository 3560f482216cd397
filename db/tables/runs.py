"""What is asked, and how far it is: runs, neurons, shards, counters, workers."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class RunTable(Base):
    """One frozen configuration over a set of neurons.

    `simulator` is how the simulator was found to be asked when the run was created; NULL where
    the configuration says it. While its `state` is importing, it is not a run yet. `paused_at` is
    NULL unless it is paused, and for runs that were paused before it was kept. `folder` is that of
    the run file, which relative paths in the configuration start from; NULL in runs without a file,
    and in those stored before it was kept.
    """

    __tablename__ = "run"
    __table_args__ = (
        CheckConstraint(
            "state IN ('running', 'paused', 'done', 'cancelled', 'importing')",
            name="state_is_known",
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    config: Mapped[dict[str, Any]]
    config_hash: Mapped[str]
    corpus_id: Mapped[int] = mapped_column(ForeignKey("corpus.id"))
    n_layers: Mapped[int] = mapped_column(SmallInteger)
    neurons_per_layer: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="running")
    pause_cause: Mapped[str | None]
    pause_reason: Mapped[str | None]
    budget_usd: Mapped[float | None]
    simulator: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    batches_due_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    folder: Mapped[str | None]


class NeuronTable(Base):
    """A neuron that the run is about.

    `is_ablated` and `has_control` mark those that the stages `ablate` and `control` are about.
    """

    __tablename__ = "neuron"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    is_ablated: Mapped[bool] = mapped_column(server_default="false")
    has_control: Mapped[bool] = mapped_column(server_default="false")


class ShardTable(Base):
    """The part of a stage that one task does, and who is doing it.

    `start` up to, not including, `stop` counts excerpts in the steps of `collect` that read text,
    and neurons of `layer` elsewhere. Of its `weight`, `done` and `failed` are counted in the
    progress of its stage. `asked` says that its questions were put into batches. `token` rises with
    every claim: results are accepted from the latest claimant only. While one has it, `fraction` is
    how much of it was done at the last heartbeat. A shard of `collect` should take `expected_s`
    seconds, and took `took_s`: the time left is told by both.
    """

    __tablename__ = "shard"
    __table_args__ = (
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
        {"postgresql_with": {"fillfactor": "70"}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    stage: Mapped[str]
    step: Mapped[str] = mapped_column(server_default="")
    layer: Mapped[int] = mapped_column(SmallInteger)
    start: Mapped[int]
    stop: Mapped[int]
    weight: Mapped[int]
    done: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(server_default="0")
    token: Mapped[int] = mapped_column(server_default="0")
    asked: Mapped[bool] = mapped_column(server_default="false")
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    error: Mapped[str | None]
    fraction: Mapped[float] = mapped_column(REAL, server_default="0")
    claimed_at: Mapped[datetime | None]
    expected_s: Mapped[float] = mapped_column(REAL, server_default="0")
    took_s: Mapped[float | None] = mapped_column(REAL)


class ProgressTable(Base):
    """Counters of a stage, kept in the transaction of the result. Layer -1 is the whole model."""

    __tablename__ = "progress"

    run_id: Mapped[int] = run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    total: Mapped[int]
    done: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    last_result_at: Mapped[datetime | None]


class ThroughputTable(Base):
    """What a stage finished in each minute, from which rates and ETAs are read."""

    __tablename__ = "throughput"

    run_id: Mapped[int] = run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    finished: Mapped[int]


class WorkerTable(Base):
    """A worker process and when it last said that it lives."""

    __tablename__ = "worker"

    worker: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str]
    host: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished: Mapped[int] = mapped_column(BigInteger, server_default="0")
