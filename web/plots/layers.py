"""Mean scores by layer, of a run and of the paper."""

from dataclasses import dataclass

from sqlalchemy import Connection

from db import evaluations, results
from db.runs import StoredRun
from neurogloss.neurons import paper

KINDS = ("explanation", *paper.BASELINES)


@dataclass(frozen=True, slots=True)
class LayerMeansOf:
    """Mean scores by kind of prediction: a run's, for each of `layers`, and the paper's 48."""

    layers: list[int]
    n_layers: int
    run: dict[str, list[float | None]]
    paper: dict[str, list[float | None]]


def layer_means_of(connection: Connection, run: StoredRun) -> LayerMeansOf:
    """Return a run's mean scores by layer, beside those that the paper published."""
    means = {("explanation", m.layer): m.score for m in results.layer_means(connection, run.id)}
    for row in evaluations.baseline_means(connection, run.name):
        means[row.baseline, row.layer] = row.score
    layers = sorted({layer for _, layer in means})
    published = paper.layer_means()
    return LayerMeansOf(
        layers=layers,
        n_layers=run.n_layers,
        run={kind: [means.get((kind, layer)) for layer in layers] for kind in KINDS},
        paper={kind: published[kind] for kind in KINDS},
    )
