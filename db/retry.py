"""Trying failed neurons again."""

from sqlalchemy import Connection, text

from neurogloss.stages import position_sql


def retry_failures(
    connection: Connection,
    run_id: int,
    *,
    failure_class: str | None = None,
    stage: str | None = None,
    layer: int | None = None,
) -> int:
    """Forget the failures that match and open their shards again. Return how many failures.

    Results stay: only what is missing is done again, under a new call identity. Under the old one,
    the answer that could not be used would be read from the ledger again.
    """
    values = {"run": run_id, "class": failure_class, "stage": stage, "layer": layer}
    forgotten = connection.execute(_FORGET, values).all()
    rows = [{"run": run_id, "stage": s, "layer": n, "neuron": m} for s, n, m in forgotten]
    if rows:
        connection.execute(_COUNT_RETRY, rows)
        connection.execute(_UNCOUNT, rows)
        connection.execute(_REOPEN, rows)
    return len(rows)


_FORGET = text("""
    DELETE FROM failure WHERE run_id = :run
      AND (CAST(:class AS text) IS NULL OR failure_class = :class)
      AND (CAST(:stage AS text) IS NULL OR stage = :stage)
      AND (CAST(:layer AS int) IS NULL OR layer = :layer)
    RETURNING stage, layer, neuron
""")

_COUNT_RETRY = text("""
    INSERT INTO retry VALUES (:run, :stage, :layer, :neuron, 1)
    ON CONFLICT (run_id, stage, layer, neuron) DO UPDATE SET times = retry.times + 1
""")

_AFFECTED = f"""
    shard.run_id = :run AND shard.layer = :layer AND shard.start <= :neuron
    AND :neuron < shard.stop
    AND {position_sql("shard.stage")} >= {position_sql("CAST(:stage AS text)")}
"""

_UNCOUNT = text(f"""
    WITH uncounted AS (
        SELECT id, stage, done, failed FROM shard WHERE {_AFFECTED} AND done + failed > 0),
    cleared AS (
        UPDATE shard SET done = 0, failed = 0 FROM uncounted WHERE shard.id = uncounted.id)
    UPDATE progress SET done = progress.done - uncounted.done,
           failed = progress.failed - uncounted.failed
    FROM uncounted
    WHERE progress.run_id = :run AND progress.layer = :layer AND progress.stage = uncounted.stage
""")  # noqa: S608  (a constant)

_REOPEN = text(f"""
    UPDATE shard SET attempts = 0, lease_until = NULL, token = token + 1,
           state = CASE WHEN stage = :stage AND state <> 'waiting' THEN 'ready' ELSE 'waiting' END
    WHERE {_AFFECTED}
""")  # noqa: S608  (a constant)
