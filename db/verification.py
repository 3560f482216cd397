"""What the counters and references of a run should be, by its rows: queries for `verify`.

Each function returns only what differs, streamed where there may be much of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, RowMapping, text

from db.codec import INT32
from db.progress import SPEND_SUMS
from neurogloss.neurons.records import IntArray
from neurogloss.stages import position_sql

USD_TOLERANCE = 1e-9  # relative, of sums that were added up in another order
_AT_ONCE = 1000


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open a read-only transaction that sees the database as it is now, whatever runs meanwhile."""
    with engine.connect() as connection:
        repeatable = connection.execution_options(isolation_level="REPEATABLE READ")
        with repeatable.begin():
            repeatable.execute(text("SET TRANSACTION READ ONLY"))
            yield repeatable


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
    for row in _streamed(connection, _SHARD_COUNTS, run_id):
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
          AND (shard.stage <> 'ablate' OR is_ablated)) AS neurons
    CROSS JOIN LATERAL (
        SELECT count(DISTINCT failure.neuron) AS n
        FROM failure JOIN neuron USING (run_id, layer, neuron)
        WHERE failure.run_id = shard.run_id AND failure.layer = shard.layer
          AND failure.neuron >= start AND failure.neuron < stop
          AND {position_sql("failure.stage")} <= {position_sql("shard.stage")}
          AND (shard.stage <> 'ablate' OR is_ablated)) AS failures
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
    WHERE (total, done, failed) IS DISTINCT FROM (right_total, right_done, right_failed)
    ORDER BY stage, layer
"""  # noqa: S608  (a constant)


def n_neurons(connection: Connection, run_id: int) -> int:
    """Return how many neurons a run is about."""
    query = text("SELECT count(*) FROM neuron WHERE run_id = :run")
    return int(connection.execute(query, {"run": run_id}).scalar_one())


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


class Overlap(NamedTuple):
    """The ids of two shards that share neurons, or excerpts."""

    stage: str
    step: str
    layer: int
    one: int
    other: int


def overlaps(connection: Connection, run_id: int) -> list[Overlap]:
    """Return pairs of shards that share neurons, or excerpts."""
    query = text("""
        SELECT stage, step, layer, one, other FROM (
            SELECT stage, CASE WHEN step IN ('reference', 'read') THEN 'read' ELSE step END AS step,
                   layer, id AS one, stop, lead(id) OVER along AS other,
                   lead(start) OVER along AS next
            FROM shard WHERE run_id = :run
            WINDOW along AS (
                PARTITION BY stage, layer,
                             CASE WHEN step IN ('reference', 'read') THEN 'read' ELSE step END
                ORDER BY start, id)
        ) AS pairs WHERE next < stop ORDER BY one
    """)
    return [Overlap(*row) for row in connection.execute(query, {"run": run_id})]


class Gap(NamedTuple):
    """A place where shards do not add up to the run: how much they cover, and of how much."""

    stage: str
    step: str
    layer: int
    covered: int
    wanted: int


def gaps(connection: Connection, run_id: int, n_excerpts: int) -> list[Gap]:
    """Return where shards do not add up to the run.

    Neurons are wanted in each stage that has shards at all, and excerpts, or layers, in collect.
    """
    query = text("""
        WITH wanted AS (
            SELECT stage, '' AS step, layer, count(*) AS wanted
            FROM neuron CROSS JOIN (SELECT DISTINCT stage FROM shard
                                    WHERE run_id = :run AND stage <> 'collect') AS stages
            WHERE run_id = :run AND (stage <> 'ablate' OR is_ablated) GROUP BY 1, 2, 3
            UNION ALL
            SELECT 'collect', step, layer, 1
            FROM (SELECT DISTINCT layer FROM neuron WHERE run_id = :run) AS layers
            CROSS JOIN (SELECT DISTINCT step FROM shard WHERE run_id = :run
                        AND step IN ('boundaries', 'select', 'connections')) AS steps
            UNION ALL
            SELECT 'collect', 'read', -1, :n_excerpts
            WHERE EXISTS (SELECT FROM shard WHERE run_id = :run AND stage = 'collect')),
        covered AS (
            SELECT stage, CASE WHEN step IN ('reference', 'read') THEN 'read' ELSE step END AS step,
                   layer, sum(CASE WHEN step IN ('boundaries', 'select', 'connections') THEN 1
                                   ELSE weight END) AS covered
            FROM shard WHERE run_id = :run AND step NOT IN ('lookup', 'baselines')
            GROUP BY 1, 2, 3)
        SELECT stage, step, layer, coalesce(covered, 0) AS covered, coalesce(wanted, 0) AS wanted
        FROM wanted FULL JOIN covered USING (stage, step, layer)
        WHERE covered IS DISTINCT FROM wanted ORDER BY stage, step, layer
    """)
    values = {"run": run_id, "n_excerpts": n_excerpts}
    return [Gap(*row) for row in connection.execute(query, values)]


OF_NEURONS = (
    "neuron_records",
    "token_means",
    "explanation",
    "simulation",
    "score",
    "failure",
    "retry",
    "imported_neuron",
    "candidate",
    "candidate_score",
    "sentence",
    "calibrated_score",
    "ablation",
)


WITH_CALLS = ("explanation", "simulation", "candidate", "sentence")  # of these


class Stray(NamedTuple):
    """A neuron that is not in the run, of which there are rows."""

    layer: int
    neuron: int


def strays(connection: Connection, run_id: int, table: str) -> Iterator[Stray]:
    """Yield the neurons that are not in the run, of which one of OF_NEURONS has rows."""
    if table not in OF_NEURONS:
        raise ValueError(table)
    query = f"""
        SELECT DISTINCT layer, neuron FROM {table} AS found WHERE run_id = :run AND NOT EXISTS (
            SELECT FROM neuron WHERE neuron.run_id = found.run_id AND neuron.layer = found.layer
                                 AND neuron.neuron = found.neuron)
        ORDER BY layer, neuron
    """  # noqa: S608  (one of our own tables)
    for row in _streamed(connection, query, run_id):
        yield Stray(row["layer"], row["neuron"])


class LostCall(NamedTuple):
    """The identity of a call that a row of a neuron names, and that is not stored."""

    layer: int
    neuron: int
    call: bytes


def lost_calls(connection: Connection, run_id: int, table: str) -> Iterator[LostCall]:
    """Yield the calls that rows of one of WITH_CALLS name, and that are not stored."""
    if table not in WITH_CALLS:
        raise ValueError(table)
    query = f"""
        SELECT layer, neuron, call FROM {table} AS found
        WHERE run_id = :run AND call IS NOT NULL
          AND NOT EXISTS (SELECT FROM call WHERE call.identity = found.call)
        ORDER BY layer, neuron
    """  # noqa: S608  (one of our own tables)
    for row in _streamed(connection, query, run_id):
        yield LostCall(row["layer"], row["neuron"], bytes(row["call"]))


def excerpts(connection: Connection, corpus_id: int) -> Iterator[tuple[int, IntArray]]:
    """Yield (excerpt, tokens int32 (n_tokens,)) of a corpus, in order.

    Of bytes that are not whole tokens there are none: such an excerpt is too short in any case.
    """
    query = "SELECT excerpt, tokens FROM excerpt WHERE corpus_id = :run ORDER BY excerpt"
    for row in _streamed(connection, query, corpus_id):
        is_whole = len(row["tokens"]) % 4 == 0
        yield row["excerpt"], INT32.unpack(row["tokens"] if is_whole else b"")


class DoneRange(NamedTuple):
    """The neurons, from `start` up to and without `stop`, that a stage is done with."""

    stage: str
    start: int
    stop: int


def done_ranges(connection: Connection, run_id: int, layer: int) -> list[DoneRange]:
    """Return the ranges of the shards of a layer that are done.

    Of collect, only the shard that selects the layer's records.
    """
    query = text("""
        SELECT stage, start, stop FROM shard
        WHERE run_id = :run AND layer = :layer AND state = 'done' AND step IN ('', 'select')
    """)
    return [DoneRange(*row) for row in connection.execute(query, {"run": run_id, "layer": layer})]


def _streamed(connection: Connection, query: str, run_id: int) -> Iterator[Any]:
    options = {"yield_per": _AT_ONCE}  # of the statement: a connection would keep it
    result = connection.execute(text(query), {"run": run_id}, execution_options=options)
    yield from result.mappings()
