"""How the scores of a run are spread in each of its layers."""

from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class LayerScores:
    """The `n` defined scores of a layer. Statistics are None where `n` is 0.

    The score of an `undefined` neuron is NULL with a reason; a `failed` neuron has a failure in
    place of a score. Each of `score_top`, `score_random` and `lookup_score` is the mean over the
    neurons in which it is defined.
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


def by_layer(connection: Connection, run_id: int) -> list[LayerScores]:
    """Return the scores of each layer of a run, in order."""
    return [LayerScores(*row) for row in connection.execute(_LAYERS, {"run": run_id})]
