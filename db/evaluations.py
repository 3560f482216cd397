"""Scores of baselines, and results of further scorers."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select, text

from db.bulk import upsert
from db.neurons import of_neurons
from db.runs import table
from db.tables import AblationTable, BaselineScoreTable, CalibratedScoreTable, ScorerResultTable

_BASELINES = table(BaselineScoreTable)
CALIBRATED_COLUMNS = tuple(column.name for column in CalibratedScoreTable.__table__.columns)
ABLATION_COLUMNS = tuple(column.name for column in AblationTable.__table__.columns)
SCORER_COLUMNS = tuple(
    c.name for c in ScorerResultTable.__table__.columns if c.name != "created_at"
)


def save_baseline_scores(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store scores in the order of the columns, unless the neuron has them."""
    return upsert(connection, _BASELINES, _BASELINES.columns.keys(), rows)


def baseline_scores(
    connection: Connection, run_id: int, layer: int, neuron: int
) -> dict[str, RowMapping]:
    """Return a neuron's row of each baseline."""
    query = (
        select(*_BASELINES.c)
        .where(BaselineScoreTable.run_id == run_id)
        .where(BaselineScoreTable.layer == layer, BaselineScoreTable.neuron == neuron)
        .order_by(BaselineScoreTable.baseline)
    )
    return {row["baseline"]: row for row in connection.execute(query).mappings()}


def baseline_summary(connection: Connection, run: str) -> Sequence[RowMapping]:
    """Return the view baseline_summary of one run."""
    query = text("SELECT * FROM baseline_summary WHERE run = :run ORDER BY layer, baseline")
    return connection.execute(query, {"run": run}).mappings().all()


def save_calibrated_scores(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store scores in the order of CALIBRATED_COLUMNS, unless the neuron has them."""
    return upsert(connection, table(CalibratedScoreTable), CALIBRATED_COLUMNS, rows)


def calibrated_scores(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the calibrated scores of a range of neurons of a layer, in order."""
    return of_neurons(connection, CalibratedScoreTable, run_id, layer, start, stop)


def calibration_summary(connection: Connection, run: str) -> Sequence[RowMapping]:
    """Return the view calibration_summary of one run."""
    query = text("SELECT * FROM calibration_summary WHERE run = :run ORDER BY layer, calibration")
    return connection.execute(query, {"run": run}).mappings().all()


def save_ablations(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store what ablating neurons showed, in the order of ABLATION_COLUMNS."""
    return upsert(connection, table(AblationTable), ABLATION_COLUMNS, rows)


def ablations(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return what ablating the neurons of a range showed, in order."""
    return of_neurons(connection, AblationTable, run_id, layer, start, stop)


def ablation_summary(connection: Connection, run: str) -> Sequence[RowMapping]:
    """Return the view ablation_summary of one run."""
    query = text("SELECT * FROM ablation_summary WHERE run = :run ORDER BY layer")
    return connection.execute(query, {"run": run}).mappings().all()


def save_scorer_results(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store results in the order of SCORER_COLUMNS, unless the neuron has them."""
    return upsert(connection, table(ScorerResultTable), SCORER_COLUMNS, rows)


def scorer_results(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the results of a range of neurons of a layer, in order."""
    return of_neurons(connection, ScorerResultTable, run_id, layer, start, stop)
