"""Counters, rates and spending, kept in the transaction of the result they count."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from db import listed_neurons
from db.unanswered import Unanswered, unanswered
from neurogloss.stages import concerns_sql, position_sql


def count_shard(connection: Connection, shard_id: int) -> None:
    """Count a finished shard: a neuron has failed if it did in this stage or in one before.

    A shard of `ablate` or `control` is about the neurons that are marked for it alone.

    Counters are changed last in a transaction, because the shards of a layer share them.
    """
    # One statement counts and marks the shard, and returns what it counted: `verify` compares the
    # two.
    counted = dict(connection.execute(_COUNT_SHARD, {"shard": shard_id}).mappings().one())
    shard = (counted.pop(name) for name in ("step", "shard_layer", "start", "stop"))
    listed_neurons.renew_shard(connection, counted["run"], *shard)
    connection.execute(_COUNT, counted)
    connection.execute(_COUNT_MINUTE, counted)


# DISTINCT, since a neuron may have failed in several stages. The time is that of the clock: now()
# is when the transaction began, and storing a large shard takes a while. A worker that does several
# shards of collect at once takes longer for each: each counts for its part of that time. Collect is
# counted for all layers together, as layer -1, since one pass reads them all.
_COUNT_SHARD = text(f"""
    UPDATE shard SET failed = found.n, done = weight - found.n,
           took_s = extract(epoch FROM clock_timestamp() - claimed_at) / (
               SELECT 1 + count(*) FROM shard AS other
               WHERE other.run_id = shard.run_id AND other.stage = 'collect'
                 AND other.state = 'leased' AND other.worker = shard.worker)
    FROM (
        SELECT count(DISTINCT failure.neuron) AS n
        FROM shard AS this
        JOIN failure ON failure.run_id = this.run_id AND failure.layer = this.layer
         AND failure.neuron >= this.start AND failure.neuron < this.stop
         AND {position_sql("failure.stage")} <= {position_sql("this.stage")}
        JOIN neuron ON neuron.run_id = this.run_id AND neuron.layer = this.layer
         AND neuron.neuron = failure.neuron
        WHERE this.id = :shard AND {concerns_sql("this.stage")}) AS found
    WHERE shard.id = :shard
    RETURNING run_id AS run, stage, CASE stage WHEN 'collect' THEN -1 ELSE layer END AS layer,
              done, failed, step, layer AS shard_layer, start, stop
""")  # noqa: S608  (a constant)

_COUNT = text("""
    UPDATE progress SET done = done + :done, failed = failed + :failed,
           last_result_at = clock_timestamp()
    WHERE run_id = :run AND stage = :stage AND layer = :layer
""")

_COUNT_MINUTE = text("""
    INSERT INTO throughput (run_id, stage, minute, finished)
    VALUES (:run, :stage, date_trunc('minute', clock_timestamp()),
            CAST(:done AS int) + CAST(:failed AS int))
    ON CONFLICT (run_id, stage, minute)
    DO UPDATE SET finished = throughput.finished + EXCLUDED.finished
""")


@dataclass(frozen=True, slots=True)
class Spend:
    """What a stage paid a model, or an amount to add to it; see `db.tables.calls.SpendColumns`."""

    stage: str
    model: str
    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    wasted_usd: float = 0.0


SPEND_SUMS = tuple(field.name for field in fields(Spend))[2:]  # the columns that are added up


def add_spend(connection: Connection, run_id: int, spend: Sequence[Spend]) -> None:
    """Add calls to what the run paid."""
    if spend:
        connection.exec_driver_sql(add_spend_sql(len(spend)), spend_values(run_id, spend))


def add_spend_sql(n: int, condition: str = "true") -> str:
    """Return the statement that adds so many rows, for the driver.

    `condition` is SQL that is evaluated before any row is changed.
    """
    row = f"({', '.join(['%s'] * (3 + len(SPEND_SUMS)))})"
    sums = ", ".join(f"{name} = spend.{name} + EXCLUDED.{name}" for name in SPEND_SUMS)
    return f"""
        INSERT INTO spend (run_id, stage, model, {", ".join(SPEND_SUMS)})
        SELECT * FROM (VALUES {", ".join([row] * n)}) AS added WHERE {condition}
        ON CONFLICT (run_id, stage, model) DO UPDATE SET {sums}
    """  # noqa: S608  (constants)


def spend_values(run_id: int, spend: Sequence[Spend]) -> tuple[object, ...]:
    """Return the values of rows for `add_spend_sql`, ordered so that writers cannot deadlock."""
    # Two transactions that update the same rows in different orders would wait for each other.
    ordered = sorted(spend, key=lambda row: (row.stage, row.model))
    return tuple(value for row in ordered for value in (run_id, *astuple(row)))


def spent(connection: Connection, run_id: int) -> float:
    """Return what the run paid so far, in USD."""
    # What was wasted was paid as well, and counts against the budget.
    query = text("SELECT coalesce(sum(usd + wasted_usd), 0) FROM spend WHERE run_id = :run")
    return float(connection.execute(query, {"run": run_id}).scalar_one())


def answered_stages(connection: Connection, run_id: int, model: str) -> list[str]:
    """Return the stages of a run in which a model has answered calls."""
    query = text("SELECT stage FROM spend WHERE run_id = :run AND model = :model AND calls > 0")
    return list(connection.scalars(query, {"run": run_id, "model": model}))


@dataclass(frozen=True, slots=True)
class StageProgress:
    """A row of the view run_progress: how far a stage of a run is.

    `unit` is what is counted. `per_minute` is the rate of the last minute; the others are means of
    15 and 60 minutes. `eta` is the time left at the rate of 15 minutes, or of the shards that are
    worked on while none is finished; `eta_low` and `eta_high` at the highest and the lowest of the
    three. `state` is that of the run. `under_way` is how much workers have done of the shards that
    they hold; `percent` counts it, and `done` does not.

    Of collect, `percent` is the share of the work of all its steps, by how long they should take.
    Its `eta` is their time left, at the speed of what each has done already; one of `eta_low` and
    `eta_high` is that at the speed of all steps together.
    """

    run: str
    stage: str
    total: int
    done: int
    failed: int
    in_flight: int
    waiting: int
    percent: Decimal | None
    per_minute: Decimal
    eta: timedelta | None
    last_result_at: datetime | None
    unit: str
    stage_order: int
    per_minute_15: Decimal
    per_minute_60: Decimal
    eta_low: timedelta | None
    eta_high: timedelta | None
    state: str
    under_way: Decimal


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A row of the view step_progress: how many shards of a step of collect are done.

    `under_way` is the sum of the fractions of those that workers hold.
    """

    run: str
    step: str
    shards: int
    done: int
    under_way: float


@dataclass(frozen=True, slots=True)
class RunCost:
    """A row of the view run_cost: what a stage of a run paid a model."""

    run: str
    stage: str
    model: str
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    usd: float
    usd_projected: float | None
    usd_wasted_on_retries: float


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """A row of the view failure_summary: failures of one class in one stage, and a message."""

    run: str
    stage: str
    failure_class: str
    n: int
    first_at: datetime
    last_at: datetime
    example: str


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A row of the view worker_status. `shard` is one that the worker holds, if it holds any."""

    worker: str
    queue: str
    host: str
    shard: int | None
    heartbeat_at: datetime
    per_minute: Decimal


class RunProgress(NamedTuple):
    """How far a run is, what it cost, how often it failed, and which calls get no answer now."""

    stages: list[StageProgress]
    costs: list[RunCost]
    failures: list[FailureGroup]
    steps: list[StepProgress]
    unanswered: list[Unanswered]


def of_run(connection: Connection, run: str) -> RunProgress:
    """Return how far the run of this name is."""
    return RunProgress(
        stages(connection, run),
        costs(connection, run),
        failures(connection, run),
        steps(connection, run),
        unanswered(connection, run),
    )


def stages(connection: Connection, run: str) -> list[StageProgress]:
    """Return how far the stages of a run are, in their order."""
    rows = _of_run(connection, "run_progress", StageProgress, run, "stage_order")
    return [StageProgress(*row) for row in rows]


def steps(connection: Connection, run: str) -> list[StepProgress]:
    """Return how far the steps of collect are."""
    rows = _of_run(connection, "step_progress", StepProgress, run, "step")
    return [StepProgress(*row) for row in rows]


def costs(connection: Connection, run: str) -> list[RunCost]:
    """Return what a run cost."""
    return [RunCost(*row) for row in _of_run(connection, "run_cost", RunCost, run, "stage, model")]


def failures(connection: Connection, run: str) -> list[FailureGroup]:
    """Return how often a run failed, the most frequent class first."""
    order = "n DESC, stage, class"
    rows = _of_run(connection, "failure_summary", FailureGroup, run, order)
    return [FailureGroup(*row) for row in rows]


def workers(connection: Connection) -> list[WorkerState]:
    """Return the workers that have signed on and not off."""
    query = f"SELECT {_columns(WorkerState)} FROM worker_status ORDER BY worker"  # noqa: S608
    return [WorkerState(*row) for row in connection.execute(text(query))]


def _of_run(connection: Connection, view: str, row: type, run: str, order: str) -> Any:
    query = f"SELECT {_columns(row)} FROM {view} WHERE run = :run ORDER BY {order}"  # noqa: S608
    return connection.execute(text(query), {"run": run})


def _columns(row: type) -> str:
    """Return the columns of a view; `class` is a word of Python's, and has another name here."""
    names = (field.name for field in fields(row))
    return ", ".join("class" if name == "failure_class" else name for name in names)
