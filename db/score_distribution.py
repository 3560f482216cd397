"""How the scores of a run are spread: over the run, by layer, and against other numbers."""

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text

BINS = 40  # from -1 to 1
AGAINST = ("lookup_score", "skewness", "max_activation", "usd", "score_top", "score_random")
POINTS = 2000  # as many as a plot can show


class ScoreBin(NamedTuple):
    """How many scores are at least `low` and below `high`; the last bin has those of 1 too."""

    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class LayerScores:
    """The scores of a layer, of which there are `n`; None where there are none.

    `undefined` neurons have a reason for none, `failed` ones a failure in place of it. The means of
    `score_top` and `score_random` are of those that are defined, and so is that of the baseline
    `lookup`.
    """

    layer: int
    n: int
    undefined: int
    failed: int
    mean: float | None
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None
    score_top: float | None
    score_random: float | None
    lookup_score: float | None


class ScorePoint(NamedTuple):
    """A neuron's score, and the number that it is shown against."""

    layer: int
    neuron: int
    value: float
    score: float


_HISTOGRAM = text("""
    SELECT least(:bins - 1, floor((score + 1) / 2 * :bins))::int AS bin, count(*)
    FROM listed_neuron WHERE run_id = :run AND score IS NOT NULL GROUP BY 1
""")

_LAYERS = text("""
    SELECT layer, n, undefined, failed, mean, quartiles[1], quartiles[2], quartiles[3], score_top,
           score_random, lookup_score
    FROM (
        SELECT layer, count(score) AS n, count(*) FILTER (WHERE state = 'undefined') AS undefined,
               count(*) FILTER (WHERE state = 'failed') AS failed, avg(score) AS mean,
               percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY score) AS quartiles,
               avg(score_top) AS score_top, avg(score_random) AS score_random,
               avg(lookup_score) AS lookup_score
        FROM listed_neuron WHERE run_id = :run GROUP BY layer) AS layers
    ORDER BY layer
""")

# A sample that is the same each time, and of all layers alike: every so many neurons, counted in an
# order that has nothing to do with their places.
_POINTS = """
    SELECT layer, neuron, {value}, score FROM listed_neuron
    WHERE run_id = :run AND score IS NOT NULL AND {value} IS NOT NULL
      AND hashint8(layer * 1000000000::bigint + neuron)::bigint + 2147483648 < 4294967296 * :share
    ORDER BY layer, neuron LIMIT :limit
"""
_N_SCORED = text("SELECT count(score) FROM listed_neuron WHERE run_id = :run")


def histogram(connection: Connection, run_id: int, bins: int = BINS) -> list[ScoreBin]:
    """Return how many scores lie in each of so many bins between -1 and 1."""
    rows = connection.execute(_HISTOGRAM, {"run": run_id, "bins": bins})
    found: dict[int, int] = {place: n for place, n in rows}
    edges = [2 * place / bins - 1 for place in range(bins + 1)]
    return [ScoreBin(edges[b], edges[b + 1], found.get(b, 0)) for b in range(bins)]


def by_layer(connection: Connection, run_id: int) -> list[LayerScores]:
    """Return the scores of each layer of a run, in order."""
    return [LayerScores(*row) for row in connection.execute(_LAYERS, {"run": run_id})]


def against(
    connection: Connection, run_id: int, value: str, at_most: int = POINTS
) -> list[ScorePoint]:
    """Return neurons with their score and one of AGAINST; of more than a plot can show, a sample.

    Raises:
        ValueError: The value is not one of AGAINST.
    """
    if value not in AGAINST:
        raise ValueError(f"{value!r} is nothing to hold scores against: {', '.join(AGAINST)} are")
    n = int(connection.scalar(_N_SCORED, {"run": run_id}) or 0)
    values = {"run": run_id, "share": 0.9 * at_most / max(n, 1), "limit": at_most}
    if n <= at_most:
        values["share"] = 1.0
    rows = connection.execute(text(_POINTS.format(value=value)), values)
    return [ScorePoint(*row) for row in rows]
