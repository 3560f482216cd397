"""The evaluations of a neuron: baselines, calibrations, scorers, and connections by weight."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from neurogloss.neurons.lookup import quoted
from orchestrator.cli.terminal.plain import number, plain

SHOWN = 5  # related neurons and tokens of each sign


def evaluation_lines(values: Mapping[str, Any]) -> Group:
    """Return a line for each evaluation that there is; see `db.neuron_evaluations`."""
    scores = "   ".join(
        f"{name} {number(scores['score'])}" for name, scores in values["baselines"].items()
    )
    lines = [Text(f"baselines: {scores}")] if scores else []
    lines += [
        Text(f"{name} calibration: explained variance {_or_why(result, 'rsquared')}")
        for name, result in values["calibrated"].items()
    ]
    if (control := values["control"]) is not None:
        lines.append(Text(f"control: score {_or_why(control, 'score')}{_of_partner(control)}"))
    if values["ablation"] is not None:
        lines.append(Text(f"ablation: {_or_why(values['ablation'], 'score')}"))
    lines += [
        Text(f"{name}: balanced accuracy {_or_why(result, 'score')}   AUC {number(result['auc'])}")
        for name, result in values["scorers"].items()
    ]
    means = values["mean_activation_tokens"][: 2 * SHOWN]
    if means:
        lines.append(Text("highest means: " + _listed(means, "mean")))
    for kind in ("related_tokens", "related_neurons"):
        for direction, related in sorted(values[kind].items()):
            lines += _signed(f"{direction} {kind.removeprefix('related_')}", related)
    return Group(*lines)


def _of_partner(control: Mapping[str, Any]) -> str:
    if control["partner"] is None:
        return ""
    return f", with the explanation of neuron {control['partner']}: {plain(control['explanation'])}"


def _or_why(result: Mapping[str, Any], key: str) -> str:
    reason = result["undefined_reason"]
    return number(result[key]) + (f" ({reason})" if reason else "")


def _signed(title: str, related: Sequence[Mapping[str, Any]]) -> list[Text]:
    above = [item for item in related if item["weight"] > 0][:SHOWN]
    below = [item for item in reversed(related) if item["weight"] < 0][:SHOWN]
    return [
        Text(f"{title} {sign}: {_listed(items, 'weight')}")
        for sign, items in (("+", above), ("-", below))
        if items
    ]


def _listed(related: Sequence[Mapping[str, Any]], key: str) -> str:
    shown = ("-" if item[key] is None else f"{item[key]:.3g}" for item in related)
    return "  ".join(f"{_name(item)} {value}" for item, value in zip(related, shown, strict=True))


def _name(item: Mapping[str, Any]) -> str:
    if "token" in item:
        return plain(quoted(item["token"]))
    return f"[{item['layer']} {item['neuron']}]"
