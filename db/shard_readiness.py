"""Which shards may begin: those whose predecessors are done.

Each query reads the shards of the run once. A subquery for each shard would do on tables whose
statistics are fresh, and takes seconds on those of a run that was just created. A shard that
another transaction holds is left for the next time: its worker may be frozen.
"""

from sqlalchemy import Connection, text

from neurogloss.stages import NEURON_STAGES, position_sql

COLLECT_STEPS = ("reference", "boundaries", "read", "select", "lookup", "baselines")
BESIDE_STEPS = ("baselines", "connections")  # of collect, for which no explanation waits
FIRST, *LATER = NEURON_STAGES


def open_ready(connection: Connection, run_id: int) -> int:
    """Make the shards ready whose predecessors are done. Return how many.

    Within collect the steps follow each other: every shard of a step waits for all of the steps
    before; `connections` waits for none. Between the stages there is no barrier: the neurons of a
    shard move on together, as soon as their layer is collected. Only shards of `control` wait for
    all explanations of their layer, of which they take some, and for its simulations, so that it
    does not depend on the order of work which of the two stages asks what both want to know. A
    shard of `lookup` is of the layers from its start to its stop.
    """
    queries = (_OPEN_COLLECT, _OPEN_FIRST, _OPEN_LATER)
    values = {"run": run_id, "first": FIRST, "later": LATER}
    return sum(connection.execute(query, values).rowcount for query in queries)


# Steps that are not in the list, such as `connections`, have number 0: they wait for none, and none
# waits for them.
_STEP = f"coalesce(array_position(ARRAY{list(COLLECT_STEPS)!r}, step), 0)"

_OPEN_COLLECT = text(f"""
    UPDATE shard SET state = 'ready' WHERE id = ANY (ARRAY(
        SELECT id FROM shard
        WHERE run_id = :run AND stage = 'collect' AND state = 'waiting' AND {_STEP} <= (
            SELECT coalesce(min({_STEP}) FILTER (WHERE {_STEP} > 0), 0) FROM shard
            WHERE run_id = :run AND stage = 'collect' AND state <> 'done')
        FOR UPDATE SKIP LOCKED))
""")  # noqa: S608  (constants)

# Shards that read the corpus have layer -1: while one of them is open, no layer is collected.
_OPEN_FIRST = text(f"""
    WITH uncollected AS (
        SELECT coalesce(array_agg(DISTINCT of_shard), '{{}}') AS layers
        FROM shard, LATERAL generate_series(
            CASE step WHEN 'lookup' THEN start ELSE layer END,
            CASE step WHEN 'lookup' THEN stop - 1 ELSE layer END) AS of_shard
        WHERE run_id = :run AND stage = 'collect' AND state <> 'done'
          AND step <> ALL (ARRAY{list(BESIDE_STEPS)!r}))
    UPDATE shard SET state = 'ready' WHERE id = ANY (ARRAY(
        SELECT id FROM shard, uncollected
        WHERE run_id = :run AND stage = :first AND state = 'waiting'
          AND shard.layer <> ALL (uncollected.layers) AND -1 <> ALL (uncollected.layers)
          AND NOT EXISTS (SELECT FROM batch_wait WHERE shard_id = shard.id)
        FOR UPDATE OF shard SKIP LOCKED))
""")  # noqa: S608  (a constant)

# Of the shards over the same neurons that are not done, the earliest is the next.
_OPEN_LATER = text(f"""
    UPDATE shard SET state = 'ready' WHERE id = ANY (ARRAY(
        SELECT id FROM shard
        WHERE state = 'waiting' AND id = ANY (ARRAY(
            SELECT id FROM (
                SELECT id, stage, state, {position_sql("stage")} AS place,
                       min({position_sql("stage")}) OVER (PARTITION BY layer, start) AS next,
                       min({position_sql("stage")}) OVER (PARTITION BY layer) AS next_of_layer
                FROM shard WHERE run_id = :run AND stage <> 'collect' AND state <> 'done') AS open
            WHERE place = next AND state = 'waiting' AND stage = ANY (:later)
              AND (stage <> 'control' OR next_of_layer > {position_sql("'simulate'")})))
          AND NOT EXISTS (SELECT FROM batch_wait WHERE shard_id = shard.id)
        FOR UPDATE SKIP LOCKED))
""")  # noqa: S608  (a constant)
