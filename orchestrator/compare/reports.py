"""Comparisons of a run with the paper, and what plots of comparisons need."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection

from db import comparison, evaluations, results
from db.evaluations import BaselineMeans
from db.results import LayerMeans
from db.run_comparison import run_values
from db.runs import StoredRun
from neurogloss.neurons import paper
from neurogloss.neurons.records import FloatArray


def score_columns(
    connection: Connection, a: StoredRun, b: StoredRun
) -> tuple[FloatArray, FloatArray]:
    """Return the scores in a and in b of the neurons in both runs, (n_neurons,) each."""
    rows = comparison.scores(connection, a.id, b.id)
    *_, score_a, score_b = zip(*rows, strict=True) if rows else ([], [], [], [])
    return np.array(score_a, dtype=np.float64), np.array(score_b, dtype=np.float64)  # None is NaN


def with_the_paper(connection: Connection, run: StoredRun) -> dict[str, Any]:
    """Compare a run's mean scores with those of the paper, by layer, at the same relative depth."""
    published = paper.layer_means()
    own = _own_means(connection, run)
    rows = []
    for layer in sorted({layer for means in own.values() for layer in means}):
        paper_layer = paper.layer_at_depth(layer, run.n_layers)
        means = {kind: of_layers.get(layer) for kind, of_layers in own.items()}
        rows.append(
            {
                "layer": layer,
                "paper_layer": paper_layer,
                "run": means,
                "paper": {kind: published[kind][paper_layer] for kind in own},
            }
        )
    return {
        **run_values(connection, run),
        "n_layers": run.n_layers,
        "paper_model": paper.MODEL,
        "is_same_depth": run.n_layers == paper.N_LAYERS,
        "mean_score": _mean(connection, run.id),
        "paper_mean_score": paper.MEAN_SCORE,
        "layers": rows,
    }


def _own_means(connection: Connection, run: StoredRun) -> dict[str, dict[int, float]]:
    """Return mean scores by kind and layer."""
    own = {"explanation": _defined(results.layer_means(connection, run.id))}
    means = evaluations.baseline_means(connection, run.name)
    for baseline in paper.BASELINES:
        own[baseline] = _defined([row for row in means if row.baseline == baseline])
    return own


def _defined(rows: Sequence[LayerMeans] | Sequence[BaselineMeans]) -> dict[int, float]:
    return {row.layer: row.score for row in rows if row.score is not None}


def _mean(connection: Connection, run_id: int) -> float | None:
    means = [(row.n, row.score) for row in results.layer_means(connection, run_id)]
    n = sum(n for n, _ in means)
    # Weighted, since layers may have different numbers of scored neurons.
    return sum(n * score for n, score in means if score is not None) / n if n else None
