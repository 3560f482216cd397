"""The plot of a run's course: what it paid and what it finished, over time."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from db.plot_values import Finished, Paid
from web.plots.style import COUNTS, Theme, name_line, say

NOTHING_PAID = "No call was paid for."


@dataclass(frozen=True, slots=True)
class Course:
    """A run over time. `seconds` is the width of the spans that `paid` and `finished` add up."""

    began: datetime
    ended: datetime
    seconds: float
    neurons: int
    budget_usd: float | None
    paid: list[Paid]
    finished: list[Finished]


Line = tuple[list[float], list[float]]


def course(figure: Figure, theme: Theme, values: Course) -> None:
    """Draw dollars and finished neurons by stage, added up over time."""
    if not values.paid and not values.finished:
        say(
            figure,
            theme,
            "Nothing is known of this run's course: it was imported, or has not begun.",
        )
        return
    left, right = figure.subplots(1, 2)
    unit, seconds = _unit((values.ended - values.began).total_seconds())
    colours = _colours(theme)
    _money(left, theme, values, _lines(values, "paid", "usd", seconds), colours)
    _neurons(right, theme, values, _lines(values, "finished", "n", seconds), colours)
    for axes in (left, right):
        axes.set(xlabel=f"{unit} since the run was created", xlim=(0, None), ylim=(0, None))


def _colours(theme: Theme) -> Mapping[str, str]:
    named = {"explain": theme.second, "simulate": theme.third, "score": theme.accent}
    return defaultdict(lambda: theme.ink, named)


def _unit(seconds: float) -> tuple[str, float]:
    units = (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0))
    return next((each for each in units if seconds >= 3 * each[1]), ("seconds", 1.0))


def _lines(values: Course, kind: str, amount: str, unit_s: float) -> dict[str, Line]:
    """Return by stage (times, sums until then), from nothing to the end."""
    lines: dict[str, Line] = {}
    for row in getattr(values, kind):
        end = (row.start - values.began).total_seconds() + values.seconds
        last = (values.ended - values.began).total_seconds()
        times, sums = lines.setdefault(
            row.stage, ([max(0.0, end - values.seconds) / unit_s], [0.0])
        )
        times.append(max(times[-1], min(end, last) / unit_s))
        sums.append(sums[-1] + getattr(row, amount))
    return lines


def _money(
    axes: Axes, theme: Theme, values: Course, lines: Mapping[str, Line], colours: Mapping[str, str]
) -> None:
    axes.set_title("paid, USD")
    if not any(sums[-1] for _, sums in lines.values()):
        axes.text(0.04, 0.5, NOTHING_PAID, transform=axes.transAxes, color=theme.quiet)
        axes.set(yticks=[])
        return
    _draw(axes, lines, colours, "${:,.2f}")
    budget = values.budget_usd
    highest = max(sums[-1] for _, sums in lines.values())
    if budget is not None and budget < 3 * highest:
        axes.axhline(budget, color=theme.quiet, linestyle="--", linewidth=1)
        axes.text(0.02, budget, f"budget ${budget:,.2f}", color=theme.quiet, va="bottom",
                  transform=axes.get_yaxis_transform())  # fmt: skip


def _neurons(
    axes: Axes, theme: Theme, values: Course, lines: Mapping[str, Line], colours: Mapping[str, str]
) -> None:
    axes.set_title(f"finished, of {values.neurons:,} neurons")
    if lines:
        _draw(axes, lines, colours, "{:,.0f}")
    axes.yaxis.set_major_formatter(COUNTS)
    axes.axhline(values.neurons, color=theme.quiet, linestyle="--", linewidth=1)


def _draw(axes: Axes, lines: Mapping[str, Line], colours: Mapping[str, str], amount: str) -> None:
    """Draw lines with their names at their ends, which keep out of each other's way."""
    ends = sorted(lines, key=lambda stage: lines[stage][1][-1])
    heights = np.array([lines[stage][1][-1] for stage in ends])
    apart = 0.075 * max(heights.max(), 1e-12)
    # From the lowest up, each name is moved above the one before it; then all go down, so that the
    # highest stays at its line.
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + apart)
    heights -= heights[-1] - max(lines[ends[-1]][1])
    for stage, height in zip(ends, heights, strict=True):
        times, sums = lines[stage]
        colour = colours[stage]
        axes.plot(times, sums, color=colour, linewidth=1.6)
        name_line(axes, times[-1], float(height), f"{stage} {amount.format(sums[-1])}", colour)
