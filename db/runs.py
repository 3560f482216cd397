"""Runs: creating, finding, pausing."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Select,
    and_,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from db import listed_neurons
from db.bulk import upsert
from db.tables.runs import neuron_table, progress_table, run_table, shard_table


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is to be stored; see `db.tables.runs.RunColumns`."""

    name: str
    config: Mapping[str, Any]
    config_hash: str
    corpus_id: int
    n_layers: int
    neurons_per_layer: int
    budget_usd: float | None = None
    simulator: Mapping[str, Any] | None = None
    state: str = "running"
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it is stored; see `db.tables.runs.RunColumns`."""

    id: int
    name: str
    config: dict[str, Any]
    config_hash: str
    corpus_id: int
    n_layers: int
    neurons_per_layer: int
    state: str
    pause_cause: str | None
    pause_reason: str | None
    budget_usd: float | None
    simulator: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None
    batches_due_at: datetime | None
    paused_at: datetime | None
    folder: str | None


class PlannedNeuron(NamedTuple):
    """A neuron of a plan; see `db.tables.runs.NeuronColumns`."""

    layer: int
    neuron: int
    is_ablated: bool = False
    has_control: bool = False


class PlannedShard(NamedTuple):
    """A shard of a plan; see `db.tables.runs.ShardColumns`."""

    stage: str
    step: str
    layer: int
    start: int
    stop: int
    weight: int
    state: str
    expected_s: float = 0.0


def find(connection: Connection, name: str) -> StoredRun | None:
    """Return the run of this name, if there is one."""
    return _first(connection, _runs().where(run_table.c.name == name))


def get(connection: Connection, run_id: int) -> StoredRun:
    """Return a run.

    Raises:
        LookupError: There is none with this id.
    """
    return _only(connection, _runs().where(run_table.c.id == run_id), run_id)


def get_for_update(connection: Connection, run_id: int) -> StoredRun:
    """Return a run, which nobody else changes until the commit.

    Raises:
        LookupError: There is none with this id.
    """
    return _only(connection, _runs().where(run_table.c.id == run_id).with_for_update(), run_id)


def latest(connection: Connection) -> StoredRun | None:
    """Return the run that was created last, without those that are still being imported."""
    query = _runs().where(run_table.c.state != "importing").order_by(run_table.c.id.desc()).limit(1)
    return _first(connection, query)


def done(connection: Connection, limit: int) -> list[StoredRun]:
    """Return runs that are done, the latest first."""
    query = _runs().where(run_table.c.state == "done").order_by(run_table.c.id.desc()).limit(limit)
    return [StoredRun(*row) for row in connection.execute(query)]


def attended(connection: Connection) -> list[StoredRun]:
    """Return the runs that go on, and paused ones of which workers have shards; oldest first.

    Somebody has to take back the shards of a worker that died as its run was paused.
    """
    at_work = exists().where(
        shard_table.c.run_id == run_table.c.id, shard_table.c.state == "leased"
    )
    is_paused = and_(run_table.c.state == "paused", at_work)
    query = _runs().where(or_(run_table.c.state == "running", is_paused)).order_by(run_table.c.id)
    return [StoredRun(*row) for row in connection.execute(query)]


def _runs() -> Select[Any]:
    return select(*(run_table.c[field.name] for field in fields(StoredRun)))


def _first(connection: Connection, query: Select[Any]) -> StoredRun | None:
    row = connection.execute(query).first()
    return None if row is None else StoredRun(*row)


def _only(connection: Connection, query: Select[Any], run_id: int) -> StoredRun:
    run = _first(connection, query)
    if run is None:
        raise LookupError(f"there is no run with id {run_id}")
    return run


def create(connection: Connection, run: NewRun) -> int:
    """Store a run and return its id."""
    statement = insert(run_table).values(**asdict(run)).returning(run_table.c.id)
    return int(connection.execute(statement).scalar_one())


def save_plan(
    connection: Connection,
    run_id: int,
    *,
    neurons: Iterable[PlannedNeuron],
    shards: Iterable[PlannedShard],
    totals: Iterable[tuple[str, int, int]],
) -> None:
    """Store what a run is made of: its neurons, its shards, and what each stage adds up to.

    Totals are (stage, layer, total).
    """
    columns = ("run_id", *PlannedNeuron._fields)
    upsert(connection, neuron_table, columns, ((run_id, *neuron) for neuron in neurons))
    listed_neurons.list_planned(connection, run_id)
    of_shard = ("run_id", *PlannedShard._fields)
    upsert(connection, shard_table, of_shard, ((run_id, *shard) for shard in shards))
    upsert(
        connection,
        progress_table,
        ("run_id", "stage", "layer", "total"),
        ((run_id, *total) for total in totals),
    )


def set_folder(connection: Connection, run_id: int, folder: str) -> None:
    """Store the folder of a run's file, from which its relative paths start."""
    connection.execute(update(run_table).where(run_table.c.id == run_id).values(folder=folder))


_NOT_PAUSED = {"pause_cause": None, "pause_reason": None, "paused_at": None}


def pause(connection: Connection, run_id: int, cause: str, reason: str) -> bool:
    """Pause a running run; return whether it was running. One that is paused keeps its reason."""
    statement = (
        update(run_table)
        .where(run_table.c.id == run_id, run_table.c.state == "running")
        .values(state="paused", pause_cause=cause, pause_reason=reason, paused_at=func.now())
    )
    return connection.execute(statement).rowcount == 1


def cancel(connection: Connection, run_id: int) -> bool:
    """Cancel a run that is running or paused; return whether it was."""
    statement = (
        update(run_table)
        .where(run_table.c.id == run_id, run_table.c.state.in_(("running", "paused")))
        .values(state="cancelled", **_NOT_PAUSED, finished_at=func.now())
    )
    return connection.execute(statement).rowcount == 1


def has(connection: Connection, run_id: int, name: str) -> bool:
    """Return whether there is a run of this id and name."""
    query = select(run_table.c.id).where(run_table.c.id == run_id, run_table.c.name == name)
    return connection.scalar(query) is not None


def is_running(connection: Connection, run_id: int) -> bool:
    """Return whether a run is there and not paused or done."""
    return connection.scalar(select(run_table.c.state).where(run_table.c.id == run_id)) == "running"


def resume(connection: Connection, run_id: int) -> bool:
    """Mark a run as running, unless it is cancelled or being imported; return whether it is."""
    statement = (
        update(run_table)
        # Checked here too: a run may be cancelled after a command has read its state.
        .where(run_table.c.id == run_id, run_table.c.state.in_(("running", "paused", "done")))
        .values(state="running", **_NOT_PAUSED, finished_at=None)
    )
    return connection.execute(statement).rowcount == 1


def reopen(connection: Connection, run_id: int) -> bool:
    """Let a run that is done go on; return whether it may: it is not cancelled or being imported.

    One that is paused stays so: what it was paused for has not changed.
    """
    statement = (
        update(run_table)
        .where(run_table.c.id == run_id, run_table.c.state.in_(("running", "paused", "done")))
        .values(
            state=case((run_table.c.state == "done", "running"), else_=run_table.c.state),
            finished_at=None,
        )
    )
    return connection.execute(statement).rowcount == 1


def finish(connection: Connection, run_id: int) -> bool:
    """Mark a running run as done; return whether it is. One that somebody holds is not, yet."""
    # A row that a frozen process or a command holds is not waited for: the next tick tries again.
    free = select(run_table.c.id).where(run_table.c.id == run_id, run_table.c.state == "running")
    statement = (
        update(run_table)
        .where(run_table.c.id == free.with_for_update(skip_locked=True).scalar_subquery())
        .values(state="done", finished_at=func.now())
    )
    return connection.execute(statement).rowcount == 1


def update_limits(connection: Connection, run_id: int, config: Mapping[str, Any]) -> None:
    """Replace the configuration by one that differs only in limits, prices or timeouts."""
    connection.execute(update(run_table).where(run_table.c.id == run_id).values(config=config))


def set_budget(connection: Connection, run_id: int, usd: float | None) -> None:
    """Change what a run may spend, in USD; None is no limit."""
    connection.execute(update(run_table).where(run_table.c.id == run_id).values(budget_usd=usd))


def neurons_in(
    connection: Connection, run_id: int, layer: int, start: int = 0, stop: int = 2**31 - 1
) -> list[int]:
    """Return the run's neurons of a layer in a range, in order."""
    return list(connection.scalars(_in_range(run_id, layer, start, stop)))


def _in_range(run_id: int, layer: int, start: int, stop: int) -> Select[Any]:
    return (
        select(neuron_table.c.neuron)
        .where(neuron_table.c.run_id == run_id, neuron_table.c.layer == layer)
        .where(neuron_table.c.neuron >= start, neuron_table.c.neuron < stop)
        .order_by(neuron_table.c.neuron)
    )


def ablated_in(connection: Connection, run_id: int, layer: int, start: int, stop: int) -> list[int]:
    """Return those neurons of a range that are to be ablated, in order."""
    query = _in_range(run_id, layer, start, stop).where(neuron_table.c.is_ablated)
    return list(connection.scalars(query))


def controlled_in(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> list[int]:
    """Return those neurons of a range whose scores are controlled, in order."""
    query = _in_range(run_id, layer, start, stop).where(neuron_table.c.has_control)
    return list(connection.scalars(query))


def count_neurons(connection: Connection, run_id: int) -> int:
    """Return how many neurons the run is about."""
    query = select(func.count()).where(neuron_table.c.run_id == run_id)
    return int(connection.execute(query).scalar_one())


def layers_of(connection: Connection, run_id: int) -> list[int]:
    """Return the layers that the run is about, in order."""
    query = (
        select(neuron_table.c.layer)
        .where(neuron_table.c.run_id == run_id)
        .distinct()
        .order_by(neuron_table.c.layer)
    )
    return list(connection.scalars(query))


def schema_version(connection: Connection) -> str | None:
    """Return the migration that the database is at; None when it was never migrated."""
    # To query a table that is not there would fail, and end the transaction.
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version
