"""Plots of scores: their distribution, by layer, against the lookup baseline, by sparsity."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from db.plot_values import BINS_A_UNIT, ControlCell, PairedCell, ScoreBins, SparsityBin
from neurogloss.neurons import paper
from web.plots.layers import LayerMeansOf
from web.plots.style import COUNTS, Theme, name_line, percent, say

WIDTH = 1 / BINS_A_UNIT
NO_SCORES = "No neuron has a score yet."
THIRDS = ("first third of the layers", "second third", "last third")
_LARGEST = 60.0  # square points of the square in which most neurons lie


def histogram(figure: Figure, theme: Theme, values: Sequence[ScoreBins]) -> None:
    """Draw the distribution of scores, that of the lookup baseline, and both means."""
    bins = {each.kind: each for each in values}
    own = bins.get("explanation")
    if own is None:
        say(figure, theme, NO_SCORES)
        return
    axes = figure.subplots()
    axes.bar(_edges(own)[:-1], own.counts, WIDTH, align="edge", color=theme.accent, alpha=0.75)
    highest = max(own.counts)
    lookup = bins.get("lookup")
    if lookup is not None:
        # Fewer neurons may have a lookup score: scaled, the two shapes can be compared.
        scaled = np.array(lookup.counts) * (own.n / lookup.n)
        axes.stairs(scaled, _edges(lookup), color=theme.second, linewidth=1.4)
        highest = max(highest, scaled.max())
    axes.set(xlabel="score", ylabel="neurons", ylim=(0, highest * 1.35))
    axes.set_xlim(min(each.start for each in values), 1)
    axes.yaxis.set_major_formatter(COUNTS)
    axes.set_title(f"{own.n:,} neurons")
    _means(axes, theme, own, lookup)


def _edges(bins: ScoreBins) -> np.ndarray:
    return bins.start + WIDTH * np.arange(len(bins.counts) + 1)


def _means(axes: Axes, theme: Theme, own: ScoreBins, lookup: ScoreBins | None) -> None:
    marks = [(own.mean, "mean", theme.accent), (paper.MEAN_SCORE, "the paper's mean", theme.quiet)]
    marks += [] if lookup is None else [(lookup.mean, "mean of lookup", theme.second)]
    top = axes.get_ylim()[1]
    for row, (mean, name, colour) in enumerate(sorted(marks)):
        dashes = "--" if colour == theme.quiet else "-"
        axes.axvline(mean, color=colour, linewidth=1.2, linestyle=dashes, ymax=0.8)
        right = mean > 0.6
        name_line(
            axes, mean, top * (0.97 - 0.07 * row), f"{name} {mean:.3f}", colour,
            xytext=(-4 if right else 4, 0), ha="right" if right else "left",
        )  # fmt: skip


def by_layer(figure: Figure, theme: Theme, values: LayerMeansOf) -> None:
    """Draw mean scores by layer, each kind of prediction beside the paper's."""
    kinds = [kind for kind in values.run if any(v is not None for v in values.run[kind])]
    if not kinds:
        say(figure, theme, NO_SCORES)
        return
    colours = {"explanation": theme.accent, "lookup": theme.second, "weights": theme.third}
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        _beside_the_paper(axes, theme, values, kind, colours[kind])
    panels[0].set_ylabel("mean score")


def _beside_the_paper(
    axes: Axes, theme: Theme, values: LayerMeansOf, kind: str, colour: str
) -> None:
    own, published = _numbers(values.run[kind]), _numbers(values.paper[kind])
    last = max(1, values.n_layers - 1)
    depths = np.linspace(0, last, len(published))
    axes.plot(depths, published, color=theme.quiet, linewidth=1.2, linestyle="--")
    axes.plot(values.layers, own, color=colour, linewidth=1.6, marker="o", markersize=3)
    axes.set_title(kind, color=colour)
    axes.set(xlabel="layer", ylim=(min(0.0, np.nanmin(own)), 1), xlim=(-0.04 * last, 1.04 * last))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    place = len(published) // 2
    name_line(
        axes, depths[place], published[place], "paper", theme.quiet, xytext=(0, -9), ha="center"
    )


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values])


def against_lookup(figure: Figure, theme: Theme, values: Sequence[PairedCell]) -> None:
    """Draw explanation over lookup scores for each third of the layers, as squares by area."""
    if not values:
        say(figure, theme, "No neuron has both a score and that of the lookup baseline yet.")
        return
    low = min(0.0, *(min(cell.lookup, cell.explanation) for cell in values))
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    largest = max(cell.n for cell in values)
    for third, axes in enumerate(panels):
        axes.plot([low, 1], [low, 1], color=theme.quiet, linewidth=0.8)
        axes.set(
            xlim=(low, 1),
            ylim=(low, 1),
            aspect="equal",
            xticks=(0, 0.5, 1),
            xlabel="lookup's score",
        )
        axes.set_title(THIRDS[third])
        cells = [cell for cell in values if cell.third == third]
        _squares(axes, theme, cells, [cell.lookup for cell in cells], largest, "beat lookup")
    panels[0].set_ylabel("explanation's score")


def against_control(figure: Figure, theme: Theme, values: Sequence[ControlCell]) -> None:
    """Draw scores over those with other neurons' explanations, as squares by area."""
    if not values:
        say(figure, theme, "No neuron has both a score and a control: see scoring.control.")
        return
    low = min(0.0, *(min(cell.control, cell.explanation) for cell in values))
    axes = figure.subplots()
    axes.plot([low, 1], [low, 1], color=theme.quiet, linewidth=0.8)
    axes.set(xlim=(low, 1), ylim=(low, 1), aspect="equal", xticks=(0, 0.5, 1))
    axes.set(xlabel="score with another neuron's explanation", ylabel="score with its own")
    largest = max(cell.n for cell in values)
    _squares(axes, theme, values, [cell.control for cell in values], largest, "are better")


def _squares(
    axes: Axes,
    theme: Theme,
    cells: Sequence[PairedCell | ControlCell],
    beside: Sequence[float],
    largest: int,
    better: str,
) -> None:
    """Draw cells at their own score over that `beside` it, and the share in which it is higher."""
    if not cells:
        return
    x = [start + WIDTH / 2 for start in beside]
    y = [cell.explanation + WIDTH / 2 for cell in cells]
    sizes = [max(1.0, _LARGEST * cell.n / largest) for cell in cells]
    axes.scatter(x, y, sizes, color=theme.accent, marker="s", linewidths=0)
    n, above = sum(cell.n for cell in cells), sum(cell.n_above for cell in cells)
    said = f"{percent(above / n)} {better}\nof {n:,}"
    axes.text(0.04, 0.96, said, transform=axes.transAxes, va="top", color=theme.ink)


def by_sparsity(figure: Figure, theme: Theme, values: Sequence[SparsityBin]) -> None:
    """Draw scores over the kurtosis of activations: means, and the middle half of neurons."""
    if not values:
        say(figure, theme, "No scored neuron has statistics of its activations.")
        return
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    # The geometric mean: the middle of a bin on a logarithmic axis.
    x = [(each.low * each.high) ** 0.5 for each in values]
    quartiles = [each.quartile_1 for each in values], [each.quartile_3 for each in values]
    axes.fill_between(x, *quartiles, color=theme.accent, alpha=0.2, linewidth=0)
    means = [each.score for each in values]
    axes.plot(x, means, color=theme.accent, linewidth=1.6, marker="o", markersize=3)
    name_line(axes, x[-1], means[-1], "mean, and the\nmiddle half", theme.accent)
    lookups = [np.nan if each.lookup is None else each.lookup for each in values]
    if not np.isnan(lookups[-1]):
        axes.plot(x, lookups, color=theme.second, linewidth=1.2)
        apart = abs(lookups[-1] - means[-1]) > 0.12
        name_line(axes, x[-1], lookups[-1], "lookup", theme.second, xytext=(5, 0 if apart else -24))
    axes.set(xscale="log", ylabel="score", ylim=(min(0.0, *quartiles[0]), 1))
    axes.set_title(f"{sum(each.n for each in values):,} neurons")
    lows, widths = [each.low for each in values], [0.94 * (v.high - v.low) for v in values]
    below.bar(lows, [each.n for each in values], widths, align="edge", color=theme.quiet)
    below.set(ylabel="neurons", xlabel="kurtosis of activations: high where a neuron fires seldom")
    for axis in (below.xaxis, below.yaxis):
        axis.set_major_formatter(COUNTS)
