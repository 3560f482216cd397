"""Small charts of a page, as numbers that a template writes into SVG."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 320, 160


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a histogram, with what it says on hover."""

    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True, slots=True)
class Dot:
    """Values that fall together in a scatter plot, with what they say on hover."""

    x: float
    y: float
    radius: float
    says: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line from one point to another, with its name."""

    x1: float
    y1: float
    x2: float
    y2: float
    says: str


def histogram_bars(edges: Sequence[float], counts: Sequence[int]) -> list[Bar]:
    """Return the bars of a histogram; heights are logarithms, or the rare could not be seen."""
    highest = math.log1p(max(counts, default=0)) or 1.0
    bars = []
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        height = HEIGHT * math.log1p(count) / highest
        # At least a pixel wide, or the narrow bars of a wide histogram would not be seen.
        x, end = (_along(edge, edges[0], edges[-1]) for edge in (left, right))
        says = f"{left:.3g} to {right:.3g}: {count:,} tokens"
        bars.append(Bar(x, HEIGHT - height, max(1.0, end - x - 1), height, says))
    return bars


def marks(values: Sequence[float], names: Sequence[str], low: float, high: float) -> list[Line]:
    """Return upright lines at the values that lie within a chart."""
    places = zip(values, names, strict=False)
    return [
        Line(x := _along(value, low, high), 0, x, HEIGHT, f"{name}: {value:.3g}")
        for value, name in places
        if low <= value <= high
    ]


def _along(value: float, low: float, high: float) -> float:
    return WIDTH * (value - low) / (high - low) if high > low else 0.0


def scatter(pairs: Sequence[tuple[float, float]], steps: int = 10) -> list[Dot]:
    """Return (x, y) pairs, both from 0 to 10, as dots: the more pairs at a place, the larger."""
    cells = Counter((round(x * steps / 10), round(y * steps / 10)) for x, y in pairs)
    most = max(cells.values(), default=1)
    dots = []
    for (x, y), count in sorted(cells.items()):
        # By area, not by radius: the eye compares areas.
        radius = 1.5 + 5 * math.sqrt(count / most)
        says = f"simulated {10 * x / steps:g}, real {10 * y / steps:g}: {count:,} tokens"
        dots.append(Dot(WIDTH * x / steps, HEIGHT * (1 - y / steps), radius, says))
    return dots


def straight(slope: float, intercept: float, per_level: float) -> Line:
    """Return the line of a linear calibration over simulations from 0 to 10.

    `per_level` is what one step from 0 to 10 is, in activations.
    """
    ends = (intercept / per_level, (slope * 10 + intercept) / per_level)
    first, last = (HEIGHT * (1 - min(10.0, max(0.0, end)) / 10) for end in ends)
    return Line(0, first, WIDTH, last, f"{slope:.3g} x simulated + {intercept:.3g}")
