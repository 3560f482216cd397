"""Trying failed neurons again.

Rows are locked in the order in which commits of shards lock them: shards, failures, counters. So a
retry waits for commits, they wait for it, and neither gives way to the other.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from db import listed_neurons
from neurogloss.stages import NEURON_STAGES, position_sql


def retry_failures(
    connection: Connection,
    run_id: int,
    *,
    failure_class: str | None = None,
    stage: str | None = None,
    layer: int | None = None,
    neuron: int | None = None,
) -> int:
    """Forget the failures that match and open their shards again. Return how many failures.

    Results stay: only what is missing is done again, under a new call identity. Under the old one,
    the answer that could not be used would be read from the ledger again.
    """
    values = {"run": run_id, "class": failure_class, "layer": layer, "neuron": neuron}
    stages = [stage] if stage else list(NEURON_STAGES)
    locked = connection.execute(_LOCK, {**values, "stages": stages}).all()
    shards = {"ids": [row[0] for row in locked], "opens": [row[1] for row in locked]}
    forgotten = connection.execute(_FORGET, {**values, **shards, "stages": stages})
    count = int(forgotten.scalar_one())
    listed_neurons.renew_retried(connection, run_id)
    reopen_shards(connection, run_id, shards["ids"], shards["opens"])
    return count


def reopen_shards(
    connection: Connection, run_id: int, ids: Sequence[int], opens: Sequence[bool]
) -> None:
    """Take locked shards out of the counters; those that open are ready, and the others wait."""
    shards = {"ids": list(ids), "opens": list(opens)}
    connection.execute(_LOCK_COUNTERS, {"run": run_id, **shards})
    connection.execute(_UNCOUNT, {"run": run_id, **shards})
    connection.execute(_REOPEN, shards)


_MATCHES = """
    failure.run_id = :run AND failure.layer = shard.layer
    AND failure.neuron >= shard.start AND failure.neuron < shard.stop
    AND (CAST(:class AS text) IS NULL OR failure_class = :class)
    AND (CAST(:neuron AS int) IS NULL OR failure.neuron = :neuron)
"""

# Of the shards over the same neurons, the first that has a failure opens; those after it wait.
# LATERAL, and OFFSET 0 below, which keeps it from becoming a join: each look for failures reads a
# range of the primary key. A join would read all failures of a layer for each of its shards.
_LOCK = text(f"""
    WITH affected AS MATERIALIZED (
        SELECT shard.layer, shard.start, min({position_sql("shard.stage")}) AS place
        FROM shard CROSS JOIN LATERAL (
            SELECT FROM failure WHERE failure.stage = shard.stage AND {_MATCHES} LIMIT 1) AS found
        WHERE shard.run_id = :run AND shard.stage = ANY(:stages)
          AND (CAST(:layer AS int) IS NULL OR shard.layer = :layer)
        GROUP BY shard.layer, shard.start)
    SELECT shard.id, {position_sql("shard.stage")} = affected.place AS opens
    FROM shard JOIN affected USING (layer, start)
    WHERE shard.run_id = :run AND {position_sql("shard.stage")} >= affected.place
    ORDER BY shard.id FOR UPDATE OF shard
""")  # noqa: S608  (a constant)

# Only of the shards that are locked: others may have failed since. By their places in the table,
# and without ON CONFLICT, which takes longer: nobody else retries neurons of these shards.
_FORGET = text(f"""
    WITH matching AS MATERIALIZED (
        SELECT found.place FROM shard CROSS JOIN LATERAL (
            SELECT failure.ctid AS place FROM failure
            WHERE failure.stage = shard.stage AND {_MATCHES} OFFSET 0) AS found
        WHERE shard.id = ANY(:ids) AND shard.stage = ANY(:stages)),
    forgotten AS (
        DELETE FROM failure USING matching WHERE failure.ctid = matching.place
        RETURNING failure.stage, failure.layer, failure.neuron),
    again AS (
        UPDATE retry SET times = retry.times + 1 FROM forgotten
        WHERE retry.run_id = :run AND (retry.stage, retry.layer, retry.neuron)
            = (forgotten.stage, forgotten.layer, forgotten.neuron)
        RETURNING retry.stage, retry.layer, retry.neuron),
    first AS (
        INSERT INTO retry SELECT :run, stage, layer, neuron, 1 FROM forgotten
        WHERE NOT EXISTS (
            SELECT FROM again WHERE (again.stage, again.layer, again.neuron)
                = (forgotten.stage, forgotten.layer, forgotten.neuron)))
    SELECT count(*) FROM forgotten
""")  # noqa: S608  (a constant)

# Locked in one order first: an UPDATE locks its rows in whatever order it meets them, and two
# retries at once could deadlock.
_LOCK_COUNTERS = text("""
    SELECT FROM progress WHERE run_id = :run AND (stage, layer) IN (
        SELECT stage, layer FROM shard WHERE id = ANY(:ids))
    ORDER BY stage, layer FOR UPDATE
""")

_UNCOUNT = text("""
    WITH counted AS (
        SELECT stage, layer, sum(done) AS done, sum(failed) AS failed
        FROM shard WHERE id = ANY(:ids) GROUP BY stage, layer)
    UPDATE progress SET done = progress.done - counted.done,
           failed = progress.failed - counted.failed
    FROM counted
    WHERE progress.run_id = :run AND progress.layer = counted.layer
      AND progress.stage = counted.stage
""")

# The higher token voids the claim of a worker that has one of these shards now: what it loaded is
# out of date.
_REOPEN = text("""
    UPDATE shard SET done = 0, failed = 0, attempts = 0, lease_until = NULL, token = token + 1,
           state = CASE WHEN chosen.opens AND state <> 'waiting' THEN 'ready' ELSE 'waiting' END
    FROM unnest(CAST(:ids AS bigint[]), CAST(:opens AS bool[])) AS chosen (id, opens)
    WHERE shard.id = chosen.id
""")
