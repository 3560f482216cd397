"""Explanations, simulations, scores, and the failures in their place."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select, text

from db.bulk import upsert
from db.runs import table
from db.tables import ExplanationTable, FailureTable, RetryTable, ScoreTable, SimulationTable

EXPLANATION_COLUMNS = ("run_id", "layer", "neuron", "text", "explainer", "call")
SIMULATION_COLUMNS = tuple(column.name for column in SimulationTable.__table__.columns)
SCORE_COLUMNS = tuple(c.name for c in ScoreTable.__table__.columns if c.name != "created_at")
FAILURE_COLUMNS = tuple(c.name for c in FailureTable.__table__.columns if c.name != "failed_at")


def save_explanations(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store explanations; a neuron's first one stands, for its simulations refer to it."""
    return upsert(connection, table(ExplanationTable), EXPLANATION_COLUMNS, rows)


def save_simulations(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store simulations, unless the record has one already."""
    return upsert(connection, table(SimulationTable), SIMULATION_COLUMNS, rows)


def save_scores(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store scores, unless the neuron has one already."""
    return upsert(connection, table(ScoreTable), SCORE_COLUMNS, rows)


def save_failures(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store why neurons failed, in the order of FAILURE_COLUMNS."""
    return upsert(connection, table(FailureTable), FAILURE_COLUMNS, rows)


def explanations(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> dict[int, str]:
    """Return the explanations of a range of neurons."""
    query = select(ExplanationTable.neuron, ExplanationTable.text).where(
        ExplanationTable.run_id == run_id,
        ExplanationTable.layer == layer,
        ExplanationTable.neuron >= start,
        ExplanationTable.neuron < stop,
    )
    return {neuron: found for neuron, found in connection.execute(query)}


def simulations(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> dict[int, dict[int, bytes]]:
    """Return expected activations, float16 bytes, by neuron and excerpt."""
    query = select(
        SimulationTable.neuron, SimulationTable.excerpt, SimulationTable.expected_activations
    ).where(
        SimulationTable.run_id == run_id,
        SimulationTable.layer == layer,
        SimulationTable.neuron >= start,
        SimulationTable.neuron < stop,
    )
    found: dict[int, dict[int, bytes]] = {}
    for neuron, excerpt, expected in connection.execute(query):
        found.setdefault(neuron, {})[excerpt] = expected
    return found


def failed(
    connection: Connection, run_id: int, stages: Sequence[str], layer: int, start: int, stop: int
) -> set[int]:
    """Return the neurons of a range that failed in one of these stages."""
    query = select(FailureTable.neuron).where(
        FailureTable.run_id == run_id,
        FailureTable.stage.in_(stages),
        FailureTable.layer == layer,
        FailureTable.neuron >= start,
        FailureTable.neuron < stop,
    )
    return set(connection.scalars(query))


def scored(connection: Connection, run_id: int, layer: int, start: int, stop: int) -> set[int]:
    """Return the neurons of a range that have a score, or a reason for none."""
    query = select(ScoreTable.neuron).where(
        ScoreTable.run_id == run_id,
        ScoreTable.layer == layer,
        ScoreTable.neuron >= start,
        ScoreTable.neuron < stop,
    )
    return set(connection.scalars(query))


def retries(
    connection: Connection, run_id: int, stage: str, layer: int, start: int, stop: int
) -> dict[int, int]:
    """Return how often a person asked to try these neurons again."""
    query = select(RetryTable.neuron, RetryTable.times).where(
        RetryTable.run_id == run_id,
        RetryTable.stage == stage,
        RetryTable.layer == layer,
        RetryTable.neuron >= start,
        RetryTable.neuron < stop,
    )
    return {neuron: times for neuron, times in connection.execute(query)}


def neuron_summary(connection: Connection, run: str, layer: int, neuron: int) -> RowMapping | None:
    """Return one neuron's row of the view neuron_summary."""
    query = text(
        "SELECT * FROM neuron_summary WHERE run = :run AND layer = :layer AND neuron = :neuron"
    )
    found = connection.execute(query, {"run": run, "layer": layer, "neuron": neuron})
    return found.mappings().first()


def best(connection: Connection, run: str, limit: int) -> Sequence[RowMapping]:
    """Return the neurons of the highest score."""
    query = text("""
        SELECT * FROM neuron_summary WHERE run = :run AND score IS NOT NULL
        ORDER BY score DESC, layer, neuron LIMIT :limit
    """)
    return connection.execute(query, {"run": run, "limit": limit}).mappings().all()


def search(connection: Connection, run: str, words: str, limit: int) -> Sequence[RowMapping]:
    """Return the neurons whose explanation has these words, best score first."""
    query = text(r"""
        SELECT * FROM neuron_summary WHERE run = :run AND explanation ILIKE :pattern ESCAPE '\'
        ORDER BY score DESC NULLS LAST, layer, neuron LIMIT :limit
    """)
    escaped = words.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    values = {"run": run, "pattern": f"%{escaped}%", "limit": limit}
    return connection.execute(query, values).mappings().all()


def layer_means(connection: Connection, run_id: int) -> Sequence[RowMapping]:
    """Return (layer, n, score, score_top, score_random): mean scores of each layer."""
    query = text("""
        SELECT layer, count(score) AS n, avg(score) AS score, avg(score_top) AS score_top,
               avg(score_random) AS score_random
        FROM score WHERE run_id = :run GROUP BY layer ORDER BY layer
    """)
    return connection.execute(query, {"run": run_id}).mappings().all()


def score_histogram(connection: Connection, run_id: int) -> dict[int, int]:
    """Return how many scores lie in each tenth: 0 is [0, 0.1), 9 is [0.9, 1], -1 is below 0."""
    query = text("""
        SELECT greatest(-1, least(9, floor(score * 10)::int)) AS tenth, count(*)
        FROM score WHERE run_id = :run AND score IS NOT NULL GROUP BY 1
    """)
    return {tenth: n for tenth, n in connection.execute(query, {"run": run_id})}
