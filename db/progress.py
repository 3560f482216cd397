"""Counters, rates and spending, kept in the transaction of the result they count."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, text

from neurogloss.stages import place_of


def count_shard(connection: Connection, shard_id: int) -> None:
    """Count a finished shard: a neuron has failed if it did in this stage or in one before.

    A shard of `ablate` is about the neurons that are marked for it alone.

    Counters are changed last in a transaction, because the shards of a layer share them.
    """
    row = dict(connection.execute(_COUNT_SHARD, {"shard": shard_id}).mappings().one())
    connection.execute(_COUNT, row)
    connection.execute(_COUNT_MINUTE, row)


_COUNT_SHARD = text(f"""
    UPDATE shard SET failed = found.n, done = weight - found.n
    FROM (
        SELECT count(DISTINCT failure.neuron) AS n
        FROM shard AS this
        JOIN failure ON failure.run_id = this.run_id AND failure.layer = this.layer
         AND failure.neuron >= this.start AND failure.neuron < this.stop
         AND {place_of("failure.stage")} <= {place_of("this.stage")}
        JOIN neuron ON neuron.run_id = this.run_id AND neuron.layer = this.layer
         AND neuron.neuron = failure.neuron
        WHERE this.id = :shard AND (this.stage <> 'ablate' OR is_ablated)) AS found
    WHERE shard.id = :shard
    RETURNING run_id AS run, stage, CASE stage WHEN 'collect' THEN -1 ELSE layer END AS layer,
              done, failed
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


def add_spend(connection: Connection, run_id: int, rows: Sequence[dict[str, object]]) -> None:
    """Add calls to what the run paid.

    Each row has stage, model, calls, prompt_tokens, cached_tokens, completion_tokens, usd and
    wasted_usd.
    """
    if rows:
        connection.exec_driver_sql(add_spend_sql(len(rows)), spend_values(run_id, rows))


_SPEND = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "usd", "wasted_usd")


def add_spend_sql(n: int, condition: str = "true") -> str:
    """Return the statement that adds so many rows, for the driver.

    `condition` is SQL that is looked at before any row is touched.
    """
    row = f"({', '.join(['%s'] * (3 + len(_SPEND)))})"
    sums = ", ".join(f"{name} = spend.{name} + EXCLUDED.{name}" for name in _SPEND)
    return f"""
        INSERT INTO spend (run_id, stage, model, {", ".join(_SPEND)})
        SELECT * FROM (VALUES {", ".join([row] * n)}) AS added WHERE {condition}
        ON CONFLICT (run_id, stage, model) DO UPDATE SET {sums}
    """  # noqa: S608  (constants)


def spend_values(run_id: int, rows: Sequence[Mapping[str, object]]) -> tuple[object, ...]:
    """Return the values of rows for `add_spend_sql`, ordered so that writers cannot deadlock."""
    ordered = sorted(rows, key=lambda row: (str(row["stage"]), str(row["model"])))
    names = ("stage", "model", *_SPEND)
    return tuple(value for row in ordered for value in (run_id, *(row[name] for name in names)))


def spent(connection: Connection, run_id: int) -> float:
    """Return what the run paid so far, in USD."""
    query = text("SELECT coalesce(sum(usd + wasted_usd), 0) FROM spend WHERE run_id = :run")
    return float(connection.execute(query, {"run": run_id}).scalar_one())


class RunProgress(NamedTuple):
    """How far a run is, what it cost, and how often it failed, as the views say."""

    stages: Sequence[RowMapping]
    costs: Sequence[RowMapping]
    failures: Sequence[RowMapping]


def of_run(connection: Connection, run: str) -> RunProgress:
    """Return how far the run of this name is."""
    return RunProgress(stages(connection, run), costs(connection, run), failures(connection, run))


def stages(connection: Connection, run: str) -> Sequence[RowMapping]:
    """Return the view run_progress of one run, in the order of the stages."""
    return _view(connection, "run_progress", run, "stage_order")


def costs(connection: Connection, run: str) -> Sequence[RowMapping]:
    """Return the view run_cost of one run."""
    return _view(connection, "run_cost", run, "stage, model")


def failures(connection: Connection, run: str) -> Sequence[RowMapping]:
    """Return the view failure_summary of one run, the most frequent class first."""
    return _view(connection, "failure_summary", run, "n DESC, stage, class")


def workers(connection: Connection) -> Sequence[RowMapping]:
    """Return the view worker_status."""
    query = text("SELECT * FROM worker_status ORDER BY worker")
    return connection.execute(query).mappings().all()


def _view(connection: Connection, view: str, run: str, order: str) -> Sequence[RowMapping]:
    query = f"SELECT * FROM {view} WHERE run = :run ORDER BY {order}"  # noqa: S608  (constants)
    return connection.execute(text(query), {"run": run}).mappings().all()
