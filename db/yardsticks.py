"""Scores of baselines, and results of further scorers."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select, text

from db.bulk import upsert
from db.runs import table
from db.tables import BaselineScore, ScorerResult

_BASELINES = table(BaselineScore)
SCORER_COLUMNS = tuple(c.name for c in ScorerResult.__table__.columns if c.name != "created_at")


def save_baseline_scores(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store scores in the order of the columns, unless the neuron has them."""
    return upsert(connection, _BASELINES, _BASELINES.columns.keys(), rows)


def baseline_scores(
    connection: Connection, run_id: int, layer: int, neuron: int
) -> dict[str, RowMapping]:
    """Return a neuron's row of each baseline."""
    query = (
        select(*_BASELINES.c)
        .where(BaselineScore.run_id == run_id)
        .where(BaselineScore.layer == layer, BaselineScore.neuron == neuron)
        .order_by(BaselineScore.baseline)
    )
    return {row["baseline"]: row for row in connection.execute(query).mappings()}


def baseline_summary(connection: Connection, run: str) -> Sequence[RowMapping]:
    """Return the view baseline_summary of one run."""
    query = text("SELECT * FROM baseline_summary WHERE run = :run ORDER BY layer, baseline")
    return connection.execute(query, {"run": run}).mappings().all()


def save_scorer_results(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store results in the order of SCORER_COLUMNS, unless the neuron has them."""
    return upsert(connection, table(ScorerResult), SCORER_COLUMNS, rows)


def scorer_results(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the results of a range of neurons of a layer, in order."""
    query = (
        select(*table(ScorerResult).c)
        .where(ScorerResult.run_id == run_id, ScorerResult.layer == layer)
        .where(ScorerResult.neuron >= start, ScorerResult.neuron < stop)
        .order_by(ScorerResult.neuron, ScorerResult.scorer)
    )
    return connection.execute(query).mappings().all()
