"""What stands beside a score: baselines, calibrations, scorers, and what the weights connect."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, Engine

from db import connections, evaluations, records, results, runs
from db.session import transaction
from neurogloss.neurons.lookup import quoted
from orchestrator.cli.terminal.views import Row, number, plain

BASELINES = ("lookup", "token_list", "weights")
SHOWN = 5  # related neurons and tokens of each sign

_KEYS = ("run_id", "layer", "neuron", "baseline", "calibration")


def of_neuron(connection: Connection, run_id: int, layer: int, neuron: int) -> dict[str, Any]:
    """Return a neuron's baselines and connections, in the types of JSON."""
    corpus = runs.corpus(connection, runs.get(connection, run_id)["corpus_id"])
    texts = runs.token_texts(connection, corpus["vocabulary_id"])
    place = (run_id, layer, neuron)
    baselines = evaluations.baseline_scores(connection, *place)
    scorers = evaluations.scorer_results(connection, *place, neuron + 1)
    calibrated = evaluations.calibrated_scores(connection, *place, neuron + 1)
    ablations = evaluations.ablations(connection, *place, neuron + 1)
    neurons = connections.related_neurons(connection, *place)
    tokens = connections.related_tokens(connection, *place)
    return {
        "baselines": {name: _scores(row) for name, row in baselines.items()},
        "calibrated": {row["calibration"]: _scores(row) for row in calibrated},
        "ablation": next((_scores(row) for row in ablations), None),
        "scorers": {row["scorer"]: _result(row) for row in scorers},
        "mean_activation_tokens": _mean_tokens(connection, *place, texts),
        "related_neurons": {name: _related_neurons(row) for name, row in neurons.items()},
        "related_tokens": {name: _related_tokens(row, texts) for name, row in tokens.items()},
    }


def _scores(row: Row) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _KEYS}


def _result(row: Row) -> dict[str, Any]:
    keys = ("score", "auc", "n_positive", "n_negative", "undefined_reason")
    return {key: row[key] for key in keys}


def _mean_tokens(
    connection: Connection, run_id: int, layer: int, neuron: int, texts: Sequence[str]
) -> list[dict[str, Any]]:
    found = []
    for row in records.token_means(connection, run_id, layer, neuron, neuron + 1):
        stored = np.frombuffer(row["tokens"], np.int32), np.frombuffer(row["means"], np.float32)
        means = dict(zip(*(column.tolist() for column in stored), strict=True))
        found += [{"token": texts[token], "mean": means[token]} for token in row["top_tokens"]]
    return found


def _related_neurons(row: Row) -> list[dict[str, Any]]:
    columns = (row["layers"], row["neurons"], row["weights"])
    return [
        {"layer": layer, "neuron": neuron, "weight": weight}
        for layer, neuron, weight in zip(*columns, strict=True)
    ]


def _related_tokens(row: Row, texts: Sequence[str]) -> list[dict[str, Any]]:
    pairs = zip(row["tokens"], row["weights"], strict=True)
    return [{"token": texts[token], "weight": weight} for token, weight in pairs]


def neuron_lines(found: Mapping[str, Any]) -> Group:
    """Return what a terminal shows of it."""
    scores = "   ".join(
        f"{name} {number(scores['score'])}" for name, scores in found["baselines"].items()
    )
    lines = [Text(f"baselines: {scores}")] if scores else []
    lines += [
        Text(f"{name} calibration: explained variance {_or_why(result, 'rsquared')}")
        for name, result in found["calibrated"].items()
    ]
    if found["ablation"] is not None:
        lines.append(Text(f"ablation: {_or_why(found['ablation'], 'score')}"))
    lines += [
        Text(f"{name}: balanced accuracy {_or_why(result, 'score')}   AUC {number(result['auc'])}")
        for name, result in found["scorers"].items()
    ]
    means = found["mean_activation_tokens"][: 2 * SHOWN]
    if means:
        lines.append(Text("highest means: " + _listed(means, "mean")))
    for kind in ("related_tokens", "related_neurons"):
        for direction, related in sorted(found[kind].items()):
            lines += _signed(f"{direction} {kind.removeprefix('related_')}", related)
    return Group(*lines)


def _or_why(result: Mapping[str, Any], key: str) -> str:
    reason = result["undefined_reason"]
    return number(result[key]) + (f" ({reason})" if reason else "")


def _signed(title: str, related: Sequence[Mapping[str, Any]]) -> list[Text]:
    above = [one for one in related if one["weight"] > 0][:SHOWN]
    below = [one for one in reversed(related) if one["weight"] < 0][:SHOWN]
    return [
        Text(f"{title} {sign}: {_listed(some, 'weight')}")
        for sign, some in (("+", above), ("-", below))
        if some
    ]


def _listed(related: Sequence[Mapping[str, Any]], key: str) -> str:
    return "  ".join(f"{_name(one)} {one[key]:.3g}" for one in related)


def _name(one: Mapping[str, Any]) -> str:
    if "token" in one:
        return plain(quoted(one["token"]))
    return f"[{one['layer']} {one['neuron']}]"


def print_baselines(console: Console, engine: Engine, run_id: int, name: str) -> None:
    """Print the mean score of each baseline beside that of the explanations, by layer."""
    with transaction(engine) as connection:
        summary = evaluations.baseline_summary(connection, name)
        means = {row["layer"]: row for row in results.layer_means(connection, run_id)}
    if not summary:
        return
    table = Table(title="baselines: mean score by layer", title_justify="left")
    for heading in ("layer", "explanations", *BASELINES):
        table.add_column(heading.replace("_", " "), justify="right")
    found = {(row["layer"], row["baseline"]): row["score"] for row in summary}
    for layer in sorted({layer for layer, _ in found}):
        own = means[layer]["score"] if layer in means else None
        scores = (number(found.get((layer, baseline))) for baseline in BASELINES)
        table.add_row(str(layer), number(own), *scores)
    console.print(table)
