"""Explanations, simulations, scores, and the failures in their place."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import Connection, select, text

from db.codec import DISTRIBUTION, FLOAT16
from db.rows import NeuronRows
from db.tables.results import (
    explanation_table,
    failure_table,
    retry_table,
    score_table,
    simulation_table,
)
from neurogloss.neurons.records import FloatArray


@dataclass(frozen=True, slots=True)
class ExplanationRow:
    """The explanation of a neuron; `call` is that which it was read from, if a model wrote it."""

    run_id: int
    layer: int
    neuron: int
    text: str
    explainer: str
    call: bytes | None = None


@dataclass(frozen=True, slots=True)
class SimulationRow:
    """What the simulator expects of a neuron on one excerpt.

    `expected_activations` is float16 (n_tokens,), `distribution` float16 (n_tokens, 11), `covered`
    the probability of all numbers together: see `SimulationColumns`.
    """

    run_id: int
    layer: int
    neuron: int
    excerpt: int
    expected_activations: FloatArray
    distribution: FloatArray | None
    activation_scale: str
    simulator: str
    call: bytes | None = None
    covered: float | None = None


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The scores of a neuron, as in `neurogloss.neurons.scoring`, or why there are none."""

    run_id: int
    layer: int
    neuron: int
    score: float | None
    score_top: float | None
    score_random: float | None
    rsquared: float | None
    absolute_dev_explained: float | None
    undefined_reason: str | None


@dataclass(frozen=True, slots=True)
class FailureRow:
    """Why a neuron has no result in a stage. `failure_class` is what `retry --class` takes."""

    run_id: int
    stage: str
    layer: int
    neuron: int
    failure_class: str
    message: str
    attempts: int
    request_id: str | None


explanations = NeuronRows(explanation_table, ExplanationRow)
simulations = NeuronRows(
    simulation_table,
    SimulationRow,
    {"expected_activations": FLOAT16, "distribution": DISTRIBUTION},
)
scores = NeuronRows(score_table, ScoreRow)
failures = NeuronRows(failure_table, FailureRow)


def explanation_texts(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> dict[int, str]:
    """Return the explanations of a range of neurons, by neuron."""
    rows = explanations.load(connection, run_id, layer, start, stop)
    return {row.neuron: row.text for row in rows}


def expected_activations(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> dict[int, dict[int, FloatArray]]:
    """Return what is simulated of a range of neurons, float16 (n_tokens,), by neuron and excerpt.

    Distributions, which are eleven times as large, are not read.
    """
    columns = simulation_table.c
    query = select(columns.neuron, columns.excerpt, columns.expected_activations).where(
        columns.run_id == run_id,
        columns.layer == layer,
        columns.neuron >= start,
        columns.neuron < stop,
    )
    simulated: dict[int, dict[int, FloatArray]] = {}
    for neuron, excerpt, stored in connection.execute(query):
        simulated.setdefault(neuron, {})[excerpt] = FLOAT16.unpack(stored)
    return simulated


def failed(
    connection: Connection, run_id: int, stages: Sequence[str], layer: int, start: int, stop: int
) -> set[int]:
    """Return the neurons of a range that failed in one of these stages."""
    query = select(failure_table.c.neuron).where(
        failure_table.c.run_id == run_id,
        failure_table.c.stage.in_(stages),
        failure_table.c.layer == layer,
        failure_table.c.neuron >= start,
        failure_table.c.neuron < stop,
    )
    return set(connection.scalars(query))


def scored(connection: Connection, run_id: int, layer: int, start: int, stop: int) -> set[int]:
    """Return the neurons of a range that have a score, or a reason for none."""
    columns = score_table.c
    query = select(columns.neuron).where(
        columns.run_id == run_id,
        columns.layer == layer,
        columns.neuron >= start,
        columns.neuron < stop,
    )
    return set(connection.scalars(query))


def retries(
    connection: Connection, run_id: int, stage: str, layer: int, start: int, stop: int
) -> dict[int, int]:
    """Return how often a person asked to try these neurons again."""
    query = select(retry_table.c.neuron, retry_table.c.times).where(
        retry_table.c.run_id == run_id,
        retry_table.c.stage == stage,
        retry_table.c.layer == layer,
        retry_table.c.neuron >= start,
        retry_table.c.neuron < stop,
    )
    return {neuron: times for neuron, times in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class NeuronSummary:
    """A row of the view neuron_summary."""

    run: str
    layer: int
    neuron: int
    state: str
    reason: str | None
    explanation: str | None
    score: float | None
    score_top: float | None
    score_random: float | None
    max_activation: float | None
    usd: float | None


_SUMMARY = f"""
    SELECT {", ".join(field.name for field in fields(NeuronSummary))} FROM neuron_summary
"""  # noqa: S608  (names of our own columns)


def neuron_summary(
    connection: Connection, run: str, layer: int, neuron: int
) -> NeuronSummary | None:
    """Return what the view neuron_summary says of a neuron; None if it is not in the run."""
    query = text(f"{_SUMMARY} WHERE run = :run AND layer = :layer AND neuron = :neuron")
    row = connection.execute(query, {"run": run, "layer": layer, "neuron": neuron}).first()
    return None if row is None else NeuronSummary(*row)


def best(connection: Connection, run: str, limit: int) -> list[NeuronSummary]:
    """Return the neurons of the highest score."""
    query = text(f"""
        {_SUMMARY} WHERE run = :run AND score IS NOT NULL
        ORDER BY score DESC, layer, neuron LIMIT :limit
    """)
    rows = connection.execute(query, {"run": run, "limit": limit})
    return [NeuronSummary(*row) for row in rows]


def search(connection: Connection, run: str, words: str, limit: int) -> list[NeuronSummary]:
    """Return the neurons whose explanation has these words, best score first."""
    query = text(rf"""
        {_SUMMARY} WHERE run = :run AND explanation ILIKE :pattern ESCAPE '\'
        ORDER BY score DESC NULLS LAST, layer, neuron LIMIT :limit
    """)
    # The words are plain text: `%` and `_` in them are no wildcards.
    escaped = words.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    values = {"run": run, "pattern": f"%{escaped}%", "limit": limit}
    return [NeuronSummary(*row) for row in connection.execute(query, values)]


@dataclass(frozen=True, slots=True)
class LayerMeans:
    """Mean scores of a layer's neurons, of which `n` have a score."""

    layer: int
    n: int
    score: float | None
    score_top: float | None
    score_random: float | None


def layer_means(connection: Connection, run_id: int) -> list[LayerMeans]:
    """Return the mean scores of a run's layers, in order."""
    query = text("""
        SELECT layer, count(score), avg(score), avg(score_top), avg(score_random)
        FROM score WHERE run_id = :run GROUP BY layer ORDER BY layer
    """)
    return [LayerMeans(*row) for row in connection.execute(query, {"run": run_id})]


def score_histogram(connection: Connection, run_id: int) -> dict[int, int]:
    """Return how many scores lie in each tenth: 0 is [0, 0.1), 9 is [0.9, 1], -1 is below 0."""
    query = text("""
        SELECT greatest(-1, least(9, floor(score * 10)::int)) AS tenth, count(*)
        FROM score WHERE run_id = :run AND score IS NOT NULL GROUP BY 1
    """)
    return {tenth: n for tenth, n in connection.execute(query, {"run": run_id})}
