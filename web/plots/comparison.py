"""Plots of two runs: one score over the other, and differences by layer."""

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sqlalchemy import Connection

from db.plot_values import BINS_A_UNIT
from db.run_comparison import ScoreCell, score_cells, two_runs
from db.runs import StoredRun
from web.plots.style import Drawing, Theme, percent, say

MOVED = 20
"""Neurons that a comparison lists."""
NOTHING_IN_BOTH = "No neuron has a score in both runs."
_LARGEST = 60.0  # area of a dot in square points


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """Two runs, a and b: what `neurogloss compare --json` says, and the cells of the scatter."""

    report: dict[str, Any]
    cells: list[ScoreCell]


def compared_runs(connection: Connection, a: StoredRun, b: StoredRun) -> ComparedRuns:
    """Return two runs beside each other."""
    report = two_runs(connection, a, b, MOVED)
    return ComparedRuns(report, score_cells(connection, a.id, b.id))


def scatter(figure: Figure, theme: Theme, values: ComparedRuns) -> None:
    """Draw b's scores over a's, as squares by area."""
    if not values.cells:
        say(figure, theme, NOTHING_IN_BOTH)
        return
    axes = figure.subplots()
    low = min(0.0, *(min(cell.a, cell.b) for cell in values.cells))
    largest = max(cell.n for cell in values.cells)
    axes.plot([low, 1], [low, 1], color=theme.quiet, linewidth=0.8)
    half = 0.5 / BINS_A_UNIT
    axes.scatter(
        [cell.a + half for cell in values.cells],
        [cell.b + half for cell in values.cells],
        [max(1.0, _LARGEST * cell.n / largest) for cell in values.cells],
        color=theme.accent,
        marker="s",
        linewidths=0,
    )
    axes.set(xlim=(low, 1), ylim=(low, 1), aspect="equal", xlabel="score in a", ylabel="score in b")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    summary = values.report["summary"]
    n = summary["n"]
    axes.set_title(f"{n:,} neurons")
    sides = ((1.04, 0.8, "b_higher", "b higher"), (1.04, 0.2, "a_higher", "a higher"))
    for x, y, key, name in sides:
        axes.text(x, y, f"{name}:\n{percent(summary[key] / n)}", transform=axes.transAxes)


def by_layer(figure: Figure, theme: Theme, values: ComparedRuns) -> None:
    """Draw the mean difference of each layer, with two standard errors."""
    rows = values.report["layers"]
    if not rows:
        say(figure, theme, NOTHING_IN_BOTH)
        return
    axes = figure.subplots()
    axes.axhline(0, color=theme.quiet, linewidth=0.8)
    layers, differences = ([row[key] for row in rows] for key in ("layer", "difference"))
    errors = [2 * (row["standard_error"] or 0.0) for row in rows]
    axes.errorbar(
        layers, differences, errors, fmt="o", markersize=4, color=theme.accent, elinewidth=1.2
    )
    axes.set(xlabel="layer", ylabel="mean of b - a")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_title("± two standard errors")


DRAWINGS = (
    Drawing(
        "scores",
        "Scores",
        "Each neuron's score in b over that in a. A square is as large as many neurons lie there; "
        "above the line b is better.",
        scatter,
        3.0,
    ),
    Drawing(
        "layers",
        "Difference by layer",
        "The mean of b - a in each layer, with two standard errors on either side.",
        by_layer,
        3.0,
    ),
)
