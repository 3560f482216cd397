"""Doing a neuron again that has results: another explanation, or another simulation of it.

Rows are locked in the order in which commits of shards lock them, as for `db.retry`.
"""

from sqlalchemy import Connection, text

from db import listed_neurons
from db.retry import reopen_shards
from neurogloss.stages import NEURON_STAGES, position_sql

_OF_SIMULATION = ("simulation", "score", "calibrated_score", "scorer_result", "ablation")
FORGOTTEN = {
    "explain": ("explanation", "candidate", "candidate_score", "sentence", *_OF_SIMULATION),
    "simulate": _OF_SIMULATION,
}
"""The tables whose rows of a neuron go where a stage is done again, by that stage."""


def redo(connection: Connection, run_id: int, stage: str, layer: int, neuron: int) -> bool:
    """Forget what a neuron has from a stage on, and open its shards; return whether it has any.

    The calls of the stage get another identity, so that they are asked again; the other neurons of
    the shards keep their results, and later stages take every answer that is the same.
    """
    values = {"run": run_id, "layer": layer, "neuron": neuron}
    first = NEURON_STAGES.index(stage) + 1
    locked = connection.execute(_LOCK, {**values, "first": first}).all()
    if not locked:
        return False
    # Only the first shard opens: the later ones wait for it, as in a new run.
    opening = min(row.position for row in locked)
    for table in FORGOTTEN[stage]:
        connection.execute(text(_DELETE.format(table=table)), values)
    stages = list(NEURON_STAGES[first - 1 :])
    connection.execute(_FORGET_FAILURES, {**values, "stages": stages})
    connection.execute(_ASK_AGAIN, {**values, "stage": stage})
    # Before the counters, as in `count_shard`: one order of locks.
    listed_neurons.renew(connection, run_id, [layer], neuron, neuron + 1)
    opens = [row.position == opening for row in locked]
    reopen_shards(connection, run_id, [row.id for row in locked], opens)
    return True


_LOCK = text(f"""
    SELECT id, {position_sql("stage")} AS position FROM shard
    WHERE run_id = :run AND layer = :layer AND start <= :neuron AND stop > :neuron
      AND {position_sql("stage")} >= :first
    ORDER BY id FOR UPDATE
""")  # noqa: S608  (a constant)
_DELETE = "DELETE FROM {table} WHERE run_id = :run AND layer = :layer AND neuron = :neuron"
_FORGET_FAILURES = text("""
    DELETE FROM failure
    WHERE run_id = :run AND layer = :layer AND neuron = :neuron AND stage = ANY(:stages)
""")
_ASK_AGAIN = text("""
    INSERT INTO retry (run_id, stage, layer, neuron, times)
    VALUES (:run, :stage, :layer, :neuron, 1)
    ON CONFLICT (run_id, stage, layer, neuron) DO UPDATE SET times = retry.times + 1
""")
