"""Comparisons of a run with another or with the paper, in the types of JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import Connection

from db import comparison, evaluations, results
from neurogloss.config.toml import differences
from neurogloss.neurons.records import FloatArray, IntArray
from orchestrator.compare import paper
from orchestrator.compare.scores import by_layer, paired

Row = Mapping[Any, Any]  # what SQLAlchemy's RowMapping is to its reader
_ASIDE = ("name", "budget", "endpoints", "shards")  # what does not change a score


def two_runs(connection: Connection, a: Row, b: Row, limit: int) -> dict[str, Any]:
    """Compare two runs: as a whole, by layer, and the neurons whose scores differ most.

    Args:
        connection: To the database.
        a: The row of a run.
        b: The row of the other one.
        limit: How many neurons.
    """
    layers, score_a, score_b = columns(connection, a, b)
    found = by_layer(layers, score_a, score_b)
    apart = comparison.furthest_apart(connection, a["id"], b["id"], limit)
    return {
        "a": _run(connection, a),
        "b": _run(connection, b),
        "configuration": differences(_settings(a), _settings(b)),
        "summary": {
            "neurons_in_both": len(layers),
            "same_explanation": comparison.equal_explanations(connection, a["id"], b["id"]),
            **asdict(paired(score_a, score_b)),
        },
        "layers": [{"layer": layer, **asdict(scores)} for layer, scores in found.items()],
        "furthest_apart": [dict(row) for row in apart],
    }


def _settings(run: Row) -> dict[str, Any]:
    return {key: value for key, value in run["config"].items() if key not in _ASIDE}


def _run(connection: Connection, run: Row) -> dict[str, Any]:
    totals = comparison.totals(connection, run["id"])
    return {"run": run["name"], "model": run["config"]["subject"]["model"], **totals}


def columns(connection: Connection, a: Row, b: Row) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return layers and both scores, (n_neurons,) each, of the neurons that are in both runs."""
    rows = comparison.scores(connection, a["id"], b["id"])
    layers, _, *scores = zip(*rows, strict=True) if rows else ([], [], [], [])
    score_a, score_b = (np.array(column, dtype=np.float64) for column in scores)  # None is NaN
    return np.array(layers, dtype=np.int64), score_a, score_b


def with_the_paper(connection: Connection, run: Row) -> dict[str, Any]:
    """Compare a run's mean scores with those of the paper, layer by layer at the same depth."""
    published = paper.layer_means()
    own = _own_means(connection, run)
    rows = []
    for layer in sorted({layer for means in own.values() for layer in means}):
        theirs = paper.layer_at_depth(layer, run["n_layers"])
        means = {kind: found.get(layer) for kind, found in own.items()}
        rows.append(
            {
                "layer": layer,
                "paper_layer": theirs,
                "run": means,
                "paper": {kind: published[kind][theirs] for kind in own},
            }
        )
    return {
        **_run(connection, run),
        "n_layers": run["n_layers"],
        "paper_model": paper.MODEL,
        "is_same_depth": run["n_layers"] == paper.N_LAYERS,
        "mean_score": _mean(connection, run["id"]),
        "paper_mean_score": paper.MEAN_SCORE,
        "layers": rows,
    }


def _own_means(connection: Connection, run: Row) -> dict[str, dict[int, float]]:
    """Return mean scores by kind and layer."""
    own = {"explanation": _defined(results.layer_means(connection, run["id"]))}
    summary = evaluations.baseline_summary(connection, run["name"])
    for baseline in paper.BASELINES:
        own[baseline] = _defined([row for row in summary if row["baseline"] == baseline])
    return own


def _defined(rows: Sequence[Row]) -> dict[int, float]:
    return {row["layer"]: row["score"] for row in rows if row["score"] is not None}


def _mean(connection: Connection, run_id: int) -> float | None:
    rows = [row for row in results.layer_means(connection, run_id) if row["n"]]
    n = sum(row["n"] for row in rows)
    return sum(row["n"] * row["score"] for row in rows) / n if n else None
