"""What the counters of a run should be, by its rows: queries for `verify` and `repair`.

Each function returns only what differs, streamed where there may be much of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, text

from db.progress import SPEND_SUMS
from db.session import streamed
from neurogloss.stages import concerns_sql, position_sql

USD_TOLERANCE = 1e-9  # relative, of sums that were added up in another order


class Change(NamedTuple):
    """A stored value and what it should be; None where there is no row of the one or the other."""

    name: str
    stored: Any
    right: Any


def _changes(row: RowMapping, names: Sequence[str]) -> tuple[Change, ...]:
    """Return those of the named columns that differ from the column `right_...`."""
    changes = (Change(name, row[name], row[f"right_{name}"]) for name in names)
    return tuple(change for change in changes if change.stored != change.right)


@dataclass(frozen=True, slots=True)
class ShardDifference:
    """A shard whose weight, done or failed differ."""

    id: int
    stage: str
    step: str
    layer: int
    start: int
    stop: int
    changes: tuple[Change, ...]


def shard_counts(connection: Connection, run_id: int) -> Iterator[ShardDifference]:
    """Yield the shards whose counters are not those of their neurons and failures."""
    for row in streamed(connection, _SHARD_COUNTS, {"run": run_id}):
        place = (row["id"], row["stage"], row["step"], row["layer"], row["start"], row["stop"])
        yield ShardDifference(*place, _changes(row, ("weight", "done", "failed")))


# The rule of `progress.count_shard`: a neuron has failed if it did in this stage or before.
RIGHT_COUNTS = f"""
    SELECT shard.id, shard.stage, step, shard.layer, start, stop, weight, done, failed,
           CASE WHEN stage <> 'collect' THEN neurons.n
                WHEN step IN ('reference', 'read') THEN stop - start
                ELSE weight END AS right_weight,
           CASE WHEN state = 'done' THEN weight - failures.n ELSE 0 END AS right_done,
           CASE WHEN state = 'done' THEN failures.n ELSE 0 END AS right_failed
    FROM shard
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM neuron
        WHERE neuron.run_id = shard.run_id AND neuron.layer = shard.layer
          AND neuron.neuron >= start AND neuron.neuron < stop
          AND {concerns_sql("shard.stage")}) AS neurons
    CROSS JOIN LATERAL (
        SELECT count(DISTINCT failure.neuron) AS n
        FROM failure JOIN neuron USING (run_id, layer, neuron)
        WHERE failure.run_id = shard.run_id AND failure.layer = shard.layer
          AND failure.neuron >= start AND failure.neuron < stop
          AND {position_sql("failure.stage")} <= {position_sql("shard.stage")}
          AND {concerns_sql("shard.stage")}) AS failures
    WHERE shard.run_id = :run
"""  # noqa: S608  (a constant)

_SHARD_COUNTS = f"""
    SELECT * FROM ({RIGHT_COUNTS}) AS counted
    WHERE (weight, done, failed) <> (right_weight, right_done, right_failed) ORDER BY id
"""  # noqa: S608  (a constant)


class ProgressDifference(NamedTuple):
    """A row of `progress` whose total, done or failed differ."""

    stage: str
    layer: int
    changes: tuple[Change, ...]


def progress(connection: Connection, run_id: int) -> list[ProgressDifference]:
    """Return the rows of `progress` that are not the sums of their shards."""
    rows = connection.execute(text(_PROGRESS), {"run": run_id}).mappings()
    names = ("total", "done", "failed")
    return [ProgressDifference(row["stage"], row["layer"], _changes(row, names)) for row in rows]


# Collect is counted for all layers together, as layer -1; see `progress.count_shard`.
RIGHT_PROGRESS = """
    SELECT stage, CASE stage WHEN 'collect' THEN -1 ELSE layer END AS layer,
           sum(weight)::int AS right_total, sum(done)::int AS right_done,
           sum(failed)::int AS right_failed
    FROM shard WHERE run_id = :run GROUP BY 1, 2
"""

_PROGRESS = f"""
    SELECT stage, layer, total, done, failed, right_total, right_done, right_failed
    FROM ({RIGHT_PROGRESS}) AS counted
    FULL JOIN (SELECT * FROM progress WHERE run_id = :run) AS stored USING (stage, layer)
    -- A run on the records of another has a row for collection, of zeros, and no shards of it.
    WHERE (total, done, failed) IS DISTINCT FROM
          (coalesce(right_total, 0), coalesce(right_done, 0), coalesce(right_failed, 0))
    ORDER BY stage, layer
"""  # noqa: S608  (a constant)


class SpendDifference(NamedTuple):
    """A row of `spend` of which some of SPEND_SUMS differ."""

    stage: str
    model: str
    changes: tuple[Change, ...]


def spend(connection: Connection, run_id: int) -> list[SpendDifference]:
    """Return the rows of `spend` that are not the sums of their calls."""
    values = {"run": run_id, "tolerance": USD_TOLERANCE}
    rows = connection.execute(text(SPEND_DIFFERENCES), values).mappings()
    return [SpendDifference(row["stage"], row["model"], _changes(row, SPEND_SUMS)) for row in rows]


_RIGHT_SPEND = """
    SELECT purpose AS stage, model, count(*) AS right_calls,
           sum(prompt_tokens)::bigint AS right_prompt_tokens,
           sum(cached_tokens)::bigint AS right_cached_tokens,
           sum(completion_tokens)::bigint AS right_completion_tokens,
           sum(usd) AS right_usd, sum(wasted_usd) AS right_wasted_usd
    FROM (
        SELECT purpose, model, prompt_tokens, cached_tokens, completion_tokens, usd, wasted_usd
        FROM call WHERE run_id = :run
        UNION ALL
        SELECT purpose, model, prompt_tokens, cached_tokens, completion_tokens, 0, wasted_usd
        FROM repeated_call WHERE run_id = :run) AS paid
    GROUP BY 1, 2
"""

SPEND_DIFFERENCES = f"""
    SELECT * FROM ({_RIGHT_SPEND}) AS counted
    FULL JOIN (SELECT * FROM spend WHERE run_id = :run) AS stored USING (stage, model)
    WHERE (calls, prompt_tokens, cached_tokens, completion_tokens) IS DISTINCT FROM
          (right_calls, right_prompt_tokens, right_cached_tokens, right_completion_tokens)
       OR abs(usd - right_usd) > :tolerance * greatest(1e-3, right_usd + right_wasted_usd)
       OR abs(wasted_usd - right_wasted_usd)
          > :tolerance * greatest(1e-3, right_usd + right_wasted_usd)
    ORDER BY stage, model
"""  # noqa: S608  (a constant)


class ThroughputDifference(NamedTuple):
    """A stage: how many results were counted by the minute, and how many there are."""

    stage: str
    finished: int
    n: int


def throughput(connection: Connection, run_id: int) -> list[ThroughputDifference]:
    """Return the stages of which fewer results were counted by the minute than there are.

    More may be counted: a neuron that was tried again was finished twice.
    """
    query = text("""
        SELECT stage, coalesce(finished, 0) AS finished, counted.n FROM (
            SELECT stage, sum(done + failed) AS n FROM progress WHERE run_id = :run GROUP BY 1
        ) AS counted
        LEFT JOIN (
            SELECT stage, sum(finished) AS finished FROM throughput WHERE run_id = :run GROUP BY 1
        ) AS by_minute USING (stage)
        WHERE coalesce(finished, 0) < counted.n ORDER BY stage
    """)
    return [ThroughputDifference(*row) for row in connection.execute(query, {"run": run_id})]
