"""Scores of a run by layer, beside those that the paper published."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from db.runs import StoredRun
from db.score_distribution import LayerScores
from neurogloss.neurons import paper


@dataclass(frozen=True, slots=True)
class ScoredLayer:
    """A layer, and the mean that the paper has at its depth; None where that is unknown."""

    scores: LayerScores
    paper: float | None


@dataclass(frozen=True, slots=True)
class RunScores:
    """Scores over all layers: means of those that are defined, of which there are `n`."""

    n: int
    undefined: int
    mean: float | None
    score_top: float | None
    score_random: float | None
    lookup_score: float | None
    paper: float
    layers: list[ScoredLayer]


def scores_of(run: StoredRun, layers: Sequence[LayerScores]) -> RunScores:
    """Return the scores of a run."""
    published = paper.layer_means()["explanation"]
    return RunScores(
        n=sum(layer.n for layer in layers),
        undefined=sum(layer.undefined for layer in layers),
        mean=_mean(layers, lambda layer: layer.mean),
        score_top=_mean(layers, lambda layer: layer.score_top),
        score_random=_mean(layers, lambda layer: layer.score_random),
        lookup_score=_mean(layers, lambda layer: layer.lookup_score),
        paper=paper.MEAN_SCORE,
        layers=[
            ScoredLayer(layer, published[paper.layer_at_depth(layer.layer, run.n_layers)])
            for layer in layers
        ],
    )


def _mean(
    layers: Sequence[LayerScores], value: Callable[[LayerScores], float | None]
) -> float | None:
    known = [(found, layer.n) for layer in layers if (found := value(layer)) is not None]
    total = sum(n for _, n in known)
    return sum(found * n for found, n in known) / total if total else None
