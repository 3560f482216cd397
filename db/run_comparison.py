"""Two runs beside each other: as a whole, by layer, and the neurons that differ most."""

from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from db import comparison
from db.configurations import differences
from db.plot_values import BIN, BINS_A_UNIT
from db.runs import StoredRun

_ASIDE = ("name", "budget", "endpoints", "shards")  # parts that do not influence scores


@dataclass(frozen=True, slots=True)
class PairedScores:
    """Statistics of the `n` neurons that have a score in both runs, a and b.

    Attributes:
        n: The number of these neurons.
        mean_a: The mean score in a.
        mean_b: The mean score in b.
        difference: The mean of b - a.
        standard_error: The standard error of `difference`; None for fewer than two neurons.
        a_higher: The number of neurons with a higher score in a.
        b_higher: The number of neurons with a higher score in b.
        correlation: Pearson's correlation of the scores; None where undefined.
    """

    n: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    standard_error: float | None
    a_higher: int
    b_higher: int
    correlation: float | None


class ScoreCell(NamedTuple):
    """Neurons whose scores in two runs lie in one square of 1/20, which begins at (`a`, `b`)."""

    a: float
    b: float
    n: int


_BOTH = """
    FROM score AS a JOIN score AS b ON (b.layer, b.neuron) = (a.layer, a.neuron)
    WHERE a.run_id = :a AND b.run_id = :b AND a.score IS NOT NULL AND b.score IS NOT NULL
"""
# One pass over both runs: a row for each layer, and one for all neurons, which comes first.
_PAIRED = text(f"""
    SELECT layer, {", ".join(field.name for field in fields(PairedScores))}
    FROM (
        SELECT a.layer, count(*) AS n, avg(a.score) AS mean_a, avg(b.score) AS mean_b,
               avg(b.score - a.score) AS difference,
               stddev_samp(b.score - a.score) / sqrt(count(*)) AS standard_error,
               count(*) FILTER (WHERE a.score > b.score) AS a_higher,
               count(*) FILTER (WHERE b.score > a.score) AS b_higher,
               nullif(corr(a.score, b.score), 'NaN') AS correlation
        {_BOTH} GROUP BY GROUPING SETS ((a.layer), ())) AS paired
    ORDER BY layer NULLS FIRST
""")  # noqa: S608  (names of our own columns)
_CELLS = text(f"""
    SELECT {BIN.format("a.score")} AS x, {BIN.format("b.score")} AS y, count(*)
    {_BOTH} GROUP BY 1, 2 ORDER BY 1, 2
""")
_IN_BOTH = text("""
    SELECT count(*) FROM neuron AS a JOIN neuron AS b USING (layer, neuron)
    WHERE a.run_id = :a AND b.run_id = :b
""")


def paired_scores(
    connection: Connection, a: int, b: int
) -> tuple[PairedScores, dict[int, PairedScores]]:
    """Compare the scores of two runs: of all neurons that both have scored, and by layer."""
    whole, *layers = connection.execute(_PAIRED, {"a": a, "b": b})
    return PairedScores(*whole[1:]), {layer: PairedScores(*values) for layer, *values in layers}


def score_cells(connection: Connection, a: int, b: int) -> list[ScoreCell]:
    """Return where the scores of two runs lie, one over the other."""
    rows = connection.execute(_CELLS, {"a": a, "b": b})
    return [ScoreCell(x / BINS_A_UNIT, y / BINS_A_UNIT, n) for x, y, n in rows]


def two_runs(connection: Connection, a: StoredRun, b: StoredRun, limit: int) -> dict[str, Any]:
    """Compare two runs: as a whole, by layer, and the neurons whose scores differ most.

    Args:
        connection: To the database.
        a: A run.
        b: Another run.
        limit: The number of neurons to list.
    """
    whole, layers = paired_scores(connection, a.id, b.id)
    apart = comparison.furthest_apart(connection, a.id, b.id, limit)
    in_both = connection.execute(_IN_BOTH, {"a": a.id, "b": b.id}).scalar_one()
    return {
        "a": run_values(connection, a),
        "b": run_values(connection, b),
        "configuration": differences(_settings(a), _settings(b)),
        "summary": {
            "neurons_in_both": in_both,
            "same_explanation": comparison.equal_explanations(connection, a.id, b.id),
            **asdict(whole),
        },
        "layers": [{"layer": layer, **asdict(scores)} for layer, scores in layers.items()],
        "furthest_apart": [asdict(pair) for pair in apart],
    }


def _settings(run: StoredRun) -> dict[str, Any]:
    return {key: value for key, value in run.config.items() if key not in _ASIDE}


def run_values(connection: Connection, run: StoredRun) -> dict[str, Any]:
    """Return what a comparison says of one run."""
    totals = comparison.totals(connection, run.id)
    return {"run": run.name, "model": run.config["subject"]["model"], **asdict(totals)}
