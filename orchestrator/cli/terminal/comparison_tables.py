"""What a terminal shows of a comparison. Explanations are untrusted: no markup, no escapes."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from orchestrator.cli.terminal.plain import number, plain
from orchestrator.cli.terminal.whole_table import WholeTable

Report = Mapping[str, Any]


def two_runs(report: Report) -> Group:
    """Return the comparison of two runs."""
    parts: list[RenderableType] = [_runs(report), _summary(report), _layers(report)]
    parts += [Text(f"configuration: {plain(line)}") for line in report["configuration"]]
    if report["furthest_apart"]:
        parts.append(_furthest_apart(report))
    return Group(*parts)


def _runs(report: Report) -> WholeTable:
    numbers = ("neurons", "explained", "scored", "calls", "USD")
    table = WholeTable("runs", texts=("", "run", "model"), numbers=numbers)
    for name in ("a", "b"):
        run = report[name]
        counts = (f"{run[key]:,}" for key in ("neurons", "explained", "scored", "calls"))
        table.add_row(name, run["run"], plain(run["model"]), *counts, number(run["usd"], 4))
    return table


def _summary(report: Report) -> Text:
    summary = report["summary"]
    return Text(
        f"{summary['neurons_in_both']:,} neurons in both, {summary['n']:,} with a score in both, "
        f"{summary['same_explanation']:,} with the same explanation\n"
        f"mean score: a {number(summary['mean_a'])}, b {number(summary['mean_b'])}, "
        f"difference {_signed(summary['difference'])} ± {number(summary['standard_error'], 4)}\n"
        f"a is higher in {summary['a_higher']:,}, b in {summary['b_higher']:,}; "
        f"correlation of the scores {number(summary['correlation'])}"
    )


def _layers(report: Report) -> WholeTable:
    table = WholeTable(
        "mean score by layer",
        numbers=(
            "layer",
            "neurons",
            "a",
            "b",
            "b - a",
            "a higher",
            "b higher",
        ),
    )
    for row in report["layers"]:
        scores = (number(row["mean_a"]), number(row["mean_b"]), _signed(row["difference"]))
        counts = (f"{row['a_higher']:,}", f"{row['b_higher']:,}")
        table.add_row(str(row["layer"]), f"{row['n']:,}", *scores, *counts)
    return table


def _furthest_apart(report: Report) -> WholeTable:
    table = WholeTable("furthest apart", numbers=("neuron", "", "score", "USD"))
    table.add_column("explanation")
    for row in report["furthest_apart"]:
        for name in ("a", "b"):
            neuron = f"{row['layer']} {row['neuron']}" if name == "a" else ""
            usd = number(row[f"usd_{name}"], 6)
            text = Text(plain(row[f"explanation_{name}"] or "-"))
            table.add_row(neuron, name, number(row[f"score_{name}"]), usd, text)
    return table


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def with_the_paper(report: Report) -> Group:
    """Return the comparison of a run with the paper."""
    kinds = ("explanation", "lookup", "weights")
    headings = [heading for kind in kinds for heading in (kind, "paper")]
    table = WholeTable("mean score by layer", numbers=("layer", "paper's", *headings))
    for row in report["layers"]:
        pairs = (number(row[whose][kind]) for kind in kinds for whose in ("run", "paper"))
        table.add_row(str(row["layer"]), str(row["paper_layer"]), *pairs)
    lines = [
        Text(
            f"run {report['run']}: mean score {number(report['mean_score'])}; "
            f"the paper, {report['paper_model']}: {number(report['paper_mean_score'])}"
        )
    ]
    if not report["is_same_depth"]:
        lines.append(
            Text(
                f"{plain(report['model'])} has {report['n_layers']} layers: "
                "each stands beside the paper's layer of the same relative depth"
            )
        )
    return Group(table, *lines)
