"""Parked shards: those that were claimed too often without a result."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.shards import MAX_ATTEMPTS
from neurogloss.stages import concerns_sql, position_sql


@dataclass(frozen=True, slots=True)
class ExhaustedShard:
    """A shard that was claimed too often without a result; `error` is of its last attempt."""

    id: int
    stage: str
    attempts: int
    error: str | None


def exhausted(connection: Connection, run_id: int) -> list[ExhaustedShard]:
    """Return the shards that were claimed too often without a result, and lock them.

    They are parked: they are not queued again until they are given up or forgiven.
    """
    query = text("""
        SELECT id, stage, attempts, error FROM shard
        WHERE run_id = :run AND state = 'ready' AND attempts >= :most FOR UPDATE SKIP LOCKED
    """)
    rows = connection.execute(query, {"run": run_id, "most": MAX_ATTEMPTS})
    return [ExhaustedShard(*row) for row in rows]


def open_others(connection: Connection, run_id: int) -> bool:
    """Return whether a shard of the run is under way, or ready to be, that is not exhausted."""
    query = text("""
        SELECT EXISTS (
            SELECT FROM shard WHERE run_id = :run
               AND (state IN ('queued', 'leased') OR state = 'ready' AND attempts < :most))
    """)
    values = {"run": run_id, "most": MAX_ATTEMPTS}
    return bool(connection.execute(query, values).scalar_one())


def give_up(connection: Connection, shard_id: int) -> None:
    """Finish an exhausted shard of neurons: those without a result fail, with its last error."""
    connection.execute(_FAIL_NEURONS, {"id": shard_id})
    connection.execute(text("UPDATE shard SET state = 'done' WHERE id = :id"), {"id": shard_id})


# A neuron that has the result of the stage is spared: an explanation before `simulate`, a score
# from then on; `ablate` and `control` have tables of their own. A failure that is stored already
# stays, since it says more than this one.
_FAIL_NEURONS = text(f"""
    INSERT INTO failure (run_id, stage, layer, neuron, failure_class, message, attempts)
    SELECT run_id, shard.stage, layer, neuron, 'error',
           coalesce(shard.error, 'its workers died'), shard.attempts
    FROM shard JOIN neuron USING (run_id, layer)
    WHERE shard.id = :id AND neuron >= shard.start AND neuron < shard.stop
      AND {concerns_sql("shard.stage")}
      AND NOT EXISTS (
        SELECT FROM explanation
        WHERE {position_sql("shard.stage")} < {position_sql("'simulate'")}
          AND explanation.run_id = neuron.run_id
          AND explanation.layer = neuron.layer AND explanation.neuron = neuron.neuron)
      AND NOT EXISTS (
        SELECT FROM score
        WHERE shard.stage NOT IN ('ablate', 'control') AND score.run_id = neuron.run_id
          AND score.layer = neuron.layer AND score.neuron = neuron.neuron)
      AND NOT EXISTS (
        SELECT FROM ablation
        WHERE shard.stage = 'ablate' AND ablation.run_id = neuron.run_id
          AND ablation.layer = neuron.layer AND ablation.neuron = neuron.neuron)
      AND NOT EXISTS (
        SELECT FROM control_score
        WHERE shard.stage = 'control' AND control_score.run_id = neuron.run_id
          AND control_score.layer = neuron.layer AND control_score.neuron = neuron.neuron)
    ON CONFLICT DO NOTHING
""")  # noqa: S608  (a constant)


def forgive(connection: Connection, run_id: int) -> None:
    """Reset the attempts of ready shards, as when a run is resumed: the cause may be gone."""
    query = "UPDATE shard SET attempts = 0 WHERE run_id = :run AND state = 'ready'"
    connection.execute(text(query), {"run": run_id})
