"""The latest results: neurons as they are scored, and the best and the worst of some time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, text

HOUR = timedelta(hours=1)
RECENT = 20  # neurons that the page of a run shows as its latest


@dataclass(frozen=True, slots=True)
class ScoredNeuron:
    """A neuron that was scored, and when; `undefined_reason` says why it has no score."""

    layer: int
    neuron: int
    score: float | None
    score_top: float | None
    score_random: float | None
    undefined_reason: str | None
    explanation: str | None
    scored_at: datetime


_COLUMNS = """
    layer, neuron, score, score_top, score_random, undefined_reason,
    (SELECT text FROM explanation
     WHERE explanation.run_id = score.run_id AND explanation.layer = score.layer
       AND explanation.neuron = score.neuron) AS explanation,
    created_at AS scored_at
"""
_LATEST = text(f"""
    SELECT {_COLUMNS} FROM score WHERE run_id = :run
    ORDER BY created_at DESC, layer DESC, neuron DESC LIMIT :limit
""")  # noqa: S608  (a constant)
# The explanation is looked up only for the few rows that the inner query leaves.
_FURTHEST = """
    SELECT {columns} FROM (
        SELECT * FROM score
        WHERE run_id = :run AND created_at >= now() - CAST(:since AS interval) AND score IS NOT NULL
        ORDER BY score {direction}, layer, neuron LIMIT :limit) AS score
    ORDER BY score {direction}, layer, neuron
"""


def latest(connection: Connection, run_id: int, limit: int = RECENT) -> list[ScoredNeuron]:
    """Return the neurons that were scored last, the last one first."""
    rows = connection.execute(_LATEST, {"run": run_id, "limit": limit})
    return [ScoredNeuron(*row) for row in rows]


def best_since(
    connection: Connection, run_id: int, since: timedelta = HOUR, limit: int = 5
) -> list[ScoredNeuron]:
    """Return the highest scores of the last hour, or of another time, the highest first."""
    return _furthest(connection, run_id, since, limit, "DESC")


def worst_since(
    connection: Connection, run_id: int, since: timedelta = HOUR, limit: int = 5
) -> list[ScoredNeuron]:
    """Return the lowest scores of the last hour, or of another time, the lowest first."""
    return _furthest(connection, run_id, since, limit, "ASC")


def _furthest(
    connection: Connection,
    run_id: int,
    since: timedelta,
    limit: int,
    direction: Literal["ASC", "DESC"],
) -> list[ScoredNeuron]:
    query = text(_FURTHEST.format(columns=_COLUMNS, direction=direction))
    rows = connection.execute(query, {"run": run_id, "since": since, "limit": limit})
    return [ScoredNeuron(*row) for row in rows]
