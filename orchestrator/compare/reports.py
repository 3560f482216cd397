"""Comparisons of a run with another run or with the paper, as JSON values."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import Connection

from db import comparison, evaluations, results
from db.evaluations import BaselineMeans
from db.results import LayerMeans
from db.runs import StoredRun
from neurogloss.config.toml import differences
from neurogloss.neurons import paper
from neurogloss.neurons.paired_scores import by_layer, paired
from neurogloss.neurons.records import FloatArray, IntArray

_ASIDE = ("name", "budget", "endpoints", "shards")  # parts that do not influence scores


def two_runs(connection: Connection, a: StoredRun, b: StoredRun, limit: int) -> dict[str, Any]:
    """Compare two runs: as a whole, by layer, and the neurons whose scores differ most.

    Args:
        connection: To the database.
        a: A run.
        b: Another run.
        limit: The number of neurons to list.
    """
    layers, score_a, score_b = columns(connection, a, b)
    of_layers = by_layer(layers, score_a, score_b)
    apart = comparison.furthest_apart(connection, a.id, b.id, limit)
    return {
        "a": _run(connection, a),
        "b": _run(connection, b),
        "configuration": differences(_settings(a), _settings(b)),
        "summary": {
            "neurons_in_both": len(layers),
            "same_explanation": comparison.equal_explanations(connection, a.id, b.id),
            **asdict(paired(score_a, score_b)),
        },
        "layers": [{"layer": layer, **asdict(scores)} for layer, scores in of_layers.items()],
        "furthest_apart": [asdict(pair) for pair in apart],
    }


def _settings(run: StoredRun) -> dict[str, Any]:
    return {key: value for key, value in run.config.items() if key not in _ASIDE}


def _run(connection: Connection, run: StoredRun) -> dict[str, Any]:
    totals = comparison.totals(connection, run.id)
    return {"run": run.name, "model": run.config["subject"]["model"], **asdict(totals)}


def columns(
    connection: Connection, a: StoredRun, b: StoredRun
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return (layers, scores in a, scores in b) of the neurons in both runs, (n_neurons,) each."""
    rows = comparison.scores(connection, a.id, b.id)
    layers, _, *scores = zip(*rows, strict=True) if rows else ([], [], [], [])
    score_a, score_b = (np.array(column, dtype=np.float64) for column in scores)  # None is NaN
    return np.array(layers, dtype=np.int64), score_a, score_b


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
        **_run(connection, run),
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
    return sum(n * score for n, score in means if score is not None) / n if n else None
