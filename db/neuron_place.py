"""The place of a neuron in its run: its neighbours, and the percentile of its score."""

import random
from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Place:
    """A neuron of a run."""

    layer: int
    neuron: int


@dataclass(frozen=True, slots=True)
class Percentile:
    """Of `n` scored neurons, `below` have a lower score."""

    below: int
    n: int

    @property
    def share(self) -> float:
        """The share that is below, from 0 to 1."""
        return self.below / self.n if self.n else 0.0


_BEFORE = text("""
    SELECT layer, neuron FROM neuron WHERE run_id = :run AND (layer, neuron) < (:layer, :neuron)
    ORDER BY layer DESC, neuron DESC LIMIT 1
""")
_AFTER = text("""
    SELECT layer, neuron FROM neuron WHERE run_id = :run AND (layer, neuron) > (:layer, :neuron)
    ORDER BY layer, neuron LIMIT 1
""")


def before(connection: Connection, run_id: int, layer: int, neuron: int) -> Place | None:
    """Return the neuron of the run before this one."""
    row = connection.execute(_BEFORE, {"run": run_id, "layer": layer, "neuron": neuron}).first()
    return None if row is None else Place(*row)


def after(connection: Connection, run_id: int, layer: int, neuron: int) -> Place | None:
    """Return the neuron of the run after this one."""
    row = connection.execute(_AFTER, {"run": run_id, "layer": layer, "neuron": neuron}).first()
    return None if row is None else Place(*row)


def any_neuron(connection: Connection, run_id: int, n_layers: int, width: int) -> Place | None:
    """Return a neuron of the run, by chance: the first one from a place that is drawn evenly.

    Args:
        connection: To the database.
        run_id: The run.
        n_layers: Of the subject model.
        width: Neurons of each layer.
    """
    layer, neuron = random.randrange(n_layers), random.randrange(width)
    # Behind the last neuron of the run, its first one follows.
    return after(connection, run_id, layer, neuron - 1) or after(connection, run_id, -1, -1)


_OF_SCORE = text("""
    SELECT layer, neuron FROM score WHERE run_id = :run AND score >= :from AND score <= :high
    ORDER BY score LIMIT 1
""")


def any_in_band(connection: Connection, run_id: int, low: float, high: float) -> Place | None:
    """Return a neuron with a score from `low` to `high`, by chance: near a score drawn evenly."""
    for start in (random.uniform(low, high), low):
        values = {"run": run_id, "from": start, "high": high}
        if row := connection.execute(_OF_SCORE, values).first():
            return Place(*row)
    return None


_IN_LAYER = text("""
    SELECT count(*) FILTER (WHERE score < :score), count(score) FROM score
    WHERE run_id = :run AND layer = :layer
""")
# Those below are counted along the index of scores. How many there are is known by counters, less
# those without a defined score; the stage counts as failed who has a score and failed after it.
_IN_MODEL = text("""
    SELECT (SELECT count(*) FROM score WHERE run_id = :run AND score < :score),
           (SELECT coalesce(sum(done), 0) FROM progress WHERE run_id = :run AND stage = 'score')
           + (SELECT count(*) FROM failure JOIN score USING (run_id, layer, neuron)
              WHERE run_id = :run AND stage = 'score')
           - (SELECT count(*) FROM score WHERE run_id = :run AND score IS NULL)
""")


def percentile_in_layer(
    connection: Connection, run_id: int, layer: int, score: float
) -> Percentile:
    """Return how a score stands among those of a layer."""
    row = connection.execute(_IN_LAYER, {"run": run_id, "layer": layer, "score": score}).one()
    return Percentile(*row)


def percentile_in_model(connection: Connection, run_id: int, score: float) -> Percentile:
    """Return how a score stands among those of the whole run."""
    return Percentile(*connection.execute(_IN_MODEL, {"run": run_id, "score": score}).one())
