"""What stands beside a score: baselines, calibrations, scorers, and what the weights connect."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from db import evaluations, results
from db.connections import RelatedNeuronsRow, RelatedTokensRow
from db.evaluations import AblationRow, BaselineScoreRow, CalibratedScoreRow, ScorerResultRow
from db.neuron import StoredNeuron
from db.session import transaction
from neurogloss.neurons.lookup import quoted
from orchestrator.cli.terminal.views import number, plain

BASELINES = ("lookup", "token_list", "weights")
SHOWN = 5  # related neurons and tokens of each sign

_KEYS = ("run_id", "layer", "neuron", "baseline", "calibration")


def evaluations_of(stored: StoredNeuron, texts: Sequence[str]) -> dict[str, Any]:
    """Return a neuron's evaluations and connections in the types of JSON.

    Args:
        stored: The neuron.
        texts: The text of every token of the vocabulary.
    """
    means = stored.token_means.top_means() if stored.token_means else []
    return {
        "baselines": {name: _scores(row) for name, row in stored.baselines.items()},
        "calibrated": {name: _scores(row) for name, row in stored.calibrated.items()},
        "ablation": None if stored.ablation is None else _scores(stored.ablation),
        "scorers": {name: _result(row) for name, row in stored.scorers.items()},
        "mean_activation_tokens": [{"token": texts[t], "mean": mean} for t, mean in means],
        "related_neurons": {
            direction: _related_neurons(row) for direction, row in stored.related_neurons.items()
        },
        "related_tokens": {
            direction: _related_tokens(row, texts)
            for direction, row in stored.related_tokens.items()
        },
    }


def _scores(row: BaselineScoreRow | CalibratedScoreRow | AblationRow) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if key not in _KEYS}


def _result(row: ScorerResultRow) -> dict[str, Any]:
    keys = ("score", "auc", "n_positive", "n_negative", "undefined_reason")
    return {key: getattr(row, key) for key in keys}


def _related_neurons(row: RelatedNeuronsRow) -> list[dict[str, Any]]:
    return [
        {"layer": layer, "neuron": neuron, "weight": weight}
        for layer, neuron, weight in zip(row.layers, row.neurons, row.weights, strict=True)
    ]


def _related_tokens(row: RelatedTokensRow, texts: Sequence[str]) -> list[dict[str, Any]]:
    pairs = zip(row.tokens, row.weights, strict=True)
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
        summary = evaluations.baseline_means(connection, name)
        means = {row.layer: row.score for row in results.layer_means(connection, run_id)}
    if not summary:
        return
    table = Table(title="baselines: mean score by layer", title_justify="left")
    for heading in ("layer", "explanations", *BASELINES):
        table.add_column(heading.replace("_", " "), justify="right")
    by_place = {(row.layer, row.baseline): row.score for row in summary}
    for layer in sorted({layer for layer, _ in by_place}):
        scores = (number(by_place.get((layer, baseline))) for baseline in BASELINES)
        table.add_row(str(layer), number(means.get(layer)), *scores)
    console.print(table)
