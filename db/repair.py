"""Setting the counters of a run to what its rows say.

A run may go on meanwhile. Locks are taken in the order in which `ClaimedShard.committing` and
the ledger take them, and sums are read when they are held, so that nothing is counted twice or
missed.
"""

from sqlalchemy import Connection, text

from db.counter_differences import RIGHT_COUNTS, RIGHT_PROGRESS, SPEND_DIFFERENCES, USD_TOLERANCE
from db.progress import SPEND_SUMS


def repair_shards(connection: Connection, run_id: int) -> int:
    """Set weight, done and failed of shards, and the progress of their stages.

    Return how many rows were changed.
    """
    values = {"run": run_id}
    connection.execute(text("SELECT FROM shard WHERE run_id = :run ORDER BY id FOR UPDATE"), values)
    shards = connection.execute(_REPAIR_SHARDS, values).rowcount
    # Keeps writers out and lets readers in, so that counters stand still while they are compared.
    connection.execute(text("LOCK TABLE progress IN SHARE ROW EXCLUSIVE MODE"))
    return shards + connection.execute(_REPAIR_PROGRESS, values).rowcount


def repair_spend(connection: Connection, run_id: int) -> int:
    """Set what a run spent. Return how many rows were changed."""
    connection.execute(text("LOCK TABLE spend IN SHARE ROW EXCLUSIVE MODE"))
    values = {"run": run_id, "tolerance": USD_TOLERANCE}
    lost = connection.execute(_DROP_SPEND, values).rowcount
    return lost + connection.execute(_REPAIR_SPEND, values).rowcount


_REPAIR_SHARDS = text(f"""
    UPDATE shard SET weight = right_weight, failed = right_failed,
           done = CASE WHEN shard.state = 'done' THEN right_weight - right_failed ELSE 0 END
    FROM ({RIGHT_COUNTS}) AS counted
    WHERE shard.id = counted.id
      AND (shard.weight, shard.done, shard.failed) <> (right_weight, right_done, right_failed)
""")  # noqa: S608  (a constant)

_REPAIR_PROGRESS = text(f"""
    INSERT INTO progress AS stored (run_id, stage, layer, total, done, failed)
    SELECT :run, stage, layer, right_total, right_done, right_failed
    FROM ({RIGHT_PROGRESS}) AS counted
    ON CONFLICT (run_id, stage, layer) DO UPDATE SET
        total = EXCLUDED.total, done = EXCLUDED.done, failed = EXCLUDED.failed
    WHERE (stored.total, stored.done, stored.failed)
       <> (EXCLUDED.total, EXCLUDED.done, EXCLUDED.failed)
""")  # noqa: S608  (a constant)

_DROP_SPEND = text(f"""
    DELETE FROM spend USING ({SPEND_DIFFERENCES}) AS differing
    WHERE spend.run_id = :run AND right_calls IS NULL
      AND (spend.stage, spend.model) = (differing.stage, differing.model)
""")  # noqa: S608  (a constant)

_REPAIR_SPEND = text(f"""
    INSERT INTO spend AS stored (run_id, stage, model, {", ".join(SPEND_SUMS)})
    SELECT :run, stage, model, {", ".join(f"right_{name}" for name in SPEND_SUMS)}
    FROM ({SPEND_DIFFERENCES}) AS differing WHERE right_calls IS NOT NULL
    ON CONFLICT (run_id, stage, model) DO UPDATE SET
        {", ".join(f"{name} = EXCLUDED.{name}" for name in SPEND_SUMS)}
""")  # noqa: S608  (constants)
