"""What the counters and references of a run should be, by its rows: queries for `verify`.

Each function returns only what differs, streamed where there may be much of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from neurogloss.stages import place_of

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


def shard_counts(connection: Connection, run_id: int) -> Iterator[RowMapping]:
    """Yield the shards whose weight, done or failed differ: id, stage, step, layer, start, stop.

    With them come weight, done, failed, and `right_weight`, `right_done`, `right_failed`.
    """
    yield from _streamed(connection, _SHARD_COUNTS, run_id)


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
          AND {place_of("failure.stage")} <= {place_of("shard.stage")}
          AND (shard.stage <> 'ablate' OR is_ablated)) AS failures
    WHERE shard.run_id = :run
"""  # noqa: S608  (a constant)

_SHARD_COUNTS = f"""
    SELECT * FROM ({RIGHT_COUNTS}) AS counted
    WHERE (weight, done, failed) <> (right_weight, right_done, right_failed) ORDER BY id
"""  # noqa: S608  (a constant)


def progress(connection: Connection, run_id: int) -> Sequence[RowMapping]:
    """Return the rows of `progress` that are not the sums of their shards: stage, layer.

    With them come total, done and failed, None where there is no row, and `right_total`,
    `right_done` and `right_failed`, None where there are no shards.
    """
    return connection.execute(text(_PROGRESS), {"run": run_id}).mappings().all()


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


def spend(connection: Connection, run_id: int) -> Sequence[RowMapping]:
    """Return the rows of `spend` that are not the sums of their calls: stage, model.

    With them come `progress.SPEND_COLUMNS`, and each as `right_...`.
    """
    values = {"run": run_id, "tolerance": USD_TOLERANCE}
    return connection.execute(text(SPEND_DIFFERENCES), values).mappings().all()


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


def throughput(connection: Connection, run_id: int) -> Sequence[RowMapping]:
    """Return the stages of which fewer results were counted by the minute than are there.

    More may be: what was tried again was finished twice.
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
    return connection.execute(query, {"run": run_id}).mappings().all()


def overlaps(connection: Connection, run_id: int) -> Sequence[RowMapping]:
    """Return pairs of shards that share neurons, or excerpts: stage, step, layer, one, other."""
    query = text("""
        SELECT * FROM (
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
    return connection.execute(query, {"run": run_id}).mappings().all()


def gaps(connection: Connection, run_id: int, n_excerpts: int) -> Sequence[RowMapping]:
    """Return where shards do not add up to the run: stage, step, layer, covered, wanted.

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
    return connection.execute(query, values).mappings().all()


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


def strays(connection: Connection, run_id: int, table: str) -> Iterator[RowMapping]:
    """Yield (layer, neuron) of rows, of one of OF_NEURONS, of neurons that are not in the run."""
    if table not in OF_NEURONS:
        raise ValueError(table)
    query = f"""
        SELECT DISTINCT layer, neuron FROM {table} AS found WHERE run_id = :run AND NOT EXISTS (
            SELECT FROM neuron WHERE neuron.run_id = found.run_id AND neuron.layer = found.layer
                                 AND neuron.neuron = found.neuron)
        ORDER BY layer, neuron
    """  # noqa: S608  (one of our own tables)
    yield from _streamed(connection, query, run_id)


def lost_calls(connection: Connection, run_id: int, table: str) -> Iterator[RowMapping]:
    """Yield (layer, neuron, call) of rows, of one of WITH_CALLS, whose call is not stored."""
    if table not in WITH_CALLS:
        raise ValueError(table)
    query = f"""
        SELECT layer, neuron, call FROM {table} AS found
        WHERE run_id = :run AND call IS NOT NULL
          AND NOT EXISTS (SELECT FROM call WHERE call.identity = found.call)
        ORDER BY layer, neuron
    """  # noqa: S608  (one of our own tables)
    yield from _streamed(connection, query, run_id)


def excerpts(connection: Connection, corpus_id: int) -> Iterator[tuple[int, bytes]]:
    """Yield (excerpt, tokens as int32 bytes) of a corpus, in order."""
    query = "SELECT excerpt, tokens FROM excerpt WHERE corpus_id = :run ORDER BY excerpt"
    for row in _streamed(connection, query, corpus_id):
        yield row["excerpt"], bytes(row["tokens"])


def done_ranges(connection: Connection, run_id: int, layer: int) -> Sequence[RowMapping]:
    """Return stage, start and stop of the shards of a layer that are done.

    Of collect, only the one that selects the layer's records.
    """
    query = text("""
        SELECT stage, start, stop FROM shard
        WHERE run_id = :run AND layer = :layer AND state = 'done' AND step IN ('', 'select')
    """)
    return connection.execute(query, {"run": run_id, "layer": layer}).mappings().all()


def of_neurons(
    connection: Connection, run_id: int, table: str, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the rows of one of OF_NEURONS of a range of neurons of a layer, in order."""
    if table not in OF_NEURONS:
        raise ValueError(table)
    query = text(f"""
        SELECT * FROM {table} WHERE run_id = :run AND layer = :layer
          AND neuron >= :start AND neuron < :stop ORDER BY neuron
    """)  # noqa: S608  (one of our own tables)
    values = {"run": run_id, "layer": layer, "start": start, "stop": stop}
    return connection.execute(query, values).mappings().all()


def _streamed(connection: Connection, query: str, run_id: int) -> Iterator[Any]:
    options = {"yield_per": _AT_ONCE}  # of the statement: a connection would keep it
    result = connection.execute(text(query), {"run": run_id}, execution_options=options)
    yield from result.mappings()
