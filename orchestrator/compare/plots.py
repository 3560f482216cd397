"""Plots of comparisons, as files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurogloss.errors import InputError
from neurogloss.neurons import paper
from neurogloss.neurons.records import FloatArray

COLOURS = {"explanation": "tab:blue", "lookup": "tab:orange", "weights": "tab:green"}


def check(file: Path) -> None:
    """Check that a plot can be written to a file, before anything is computed.

    Raises:
        InputError: The folder is missing, or the format is unknown.
    """
    figure = _figure()
    suffixes = sorted(figure.canvas.get_supported_filetypes())
    if file.suffix.removeprefix(".") not in suffixes:
        raise InputError(f"--plot {file}: the name must end in one of {', '.join(suffixes)}")
    if not file.parent.is_dir():
        raise InputError(f"--plot {file}: there is no folder {file.parent}")


def _figure(**options: Any) -> Any:
    from matplotlib.figure import Figure  # here, since it takes longer than most comparisons

    return Figure(layout="constrained", **options)


def two_runs(
    file: Path, report: Mapping[str, Any], score_a: FloatArray, score_b: FloatArray
) -> None:
    """Plot the mean scores by layer, and the score of each neuron in b over that in a."""
    figure = _figure(figsize=(11, 5))
    means, neurons = figure.subplots(1, 2)
    layers = [row["layer"] for row in report["layers"]]
    for name in ("a", "b"):
        values = _gaps([row[f"mean_{name}"] for row in report["layers"]])
        means.plot(layers, values, marker="o", markersize=3, label=_literal(report[name]["run"]))
    means.set(xlabel="layer", ylabel="mean score")
    means.legend()
    both = score_a == score_a, score_b == score_b  # NaN is not equal to itself
    shown = both[0] & both[1]
    neurons.plot([-1, 1], [-1, 1], color="grey", linewidth=0.8)
    # As counts by cell: 300,000 dots would cover each other.
    neurons.hexbin(score_a[shown], score_b[shown], gridsize=60, bins="log", mincnt=1)
    low = min([0.0, *score_a[shown], *score_b[shown]]) - 0.02
    neurons.set(xlim=(low, 1.02), ylim=(low, 1.02), aspect="equal")
    neurons.set(
        xlabel=f"score in {_literal(report['a']['run'])}",
        ylabel=f"score in {_literal(report['b']['run'])}",
    )
    _save(figure, file)


def with_the_paper(file: Path, report: Mapping[str, Any]) -> None:
    """Plot the mean scores of a run by depth, with those of the paper as dashed lines."""
    figure = _figure(figsize=(8, 5))
    axes = figure.subplots()
    published = paper.layer_means()
    last = max(1, report["n_layers"] - 1)
    depths = [row["layer"] / last for row in report["layers"]]
    for kind, colour in COLOURS.items():
        of_paper = _gaps(published[kind])
        paper_depths = [layer / (paper.N_LAYERS - 1) for layer in range(paper.N_LAYERS)]
        own = _gaps([row["run"][kind] for row in report["layers"]])
        axes.plot(depths, own, color=colour, marker="o", markersize=3, label=f"{kind}, run")
        axes.plot(paper_depths, of_paper, color=colour, linestyle="--", label=f"{kind}, paper")
    axes.set(xlabel="depth (first layer 0, last layer 1)", ylabel="mean score")
    axes.set_title(f"{_literal(report['run'])} and the paper ({paper.MODEL})")
    figure.legend(loc="outside lower center", ncols=3)
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise InputError(f"--plot {file}: {error.strerror}") from error


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _literal(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib typesets text between two `$` as mathematics
