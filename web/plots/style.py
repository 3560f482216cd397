"""How plots look: colours of the pages, text as text, and the same bytes for the same values."""

import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a plot: those of web/static/style.css, and two for what is compared."""

    ink: str
    quiet: str
    line: str
    accent: str
    second: str
    third: str


LIGHT = Theme("#17201d", "#56605c", "#d5d9d8", "#0b6b4f", "#a34a00", "#285fc8")
DARK = Theme("#e4e9e7", "#9aa6a1", "#333c39", "#57c99d", "#f0a35e", "#8ab0ff")
THEMES = {"light": LIGHT, "dark": DARK}

WIDTH = 5.8
"""The width of a plot in inches, at which its text is as large as that of the pages."""

COUNTS = FuncFormatter(lambda value, _: f"{value:,.0f}")


# Text is measured with the font that matplotlib brings, which is wider than those of systems.
_MEASURED = "DejaVu Sans"
_SHOWN = "system-ui, sans-serif"
_FONT = re.compile(rf"'{_MEASURED}'(, [^;\"]*)?")


def _rules(theme: Theme) -> AbstractContextManager[None]:
    rules: dict[Any, Any] = {
        "axes.edgecolor": theme.line,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.labelcolor": theme.quiet,
        "axes.labelsize": 9,
        "axes.axisbelow": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": theme.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "figure.facecolor": "none",
        "font.family": "sans-serif",
        "font.sans-serif": [_MEASURED],
        "font.size": 9,
        "grid.color": theme.line,
        "grid.linewidth": 0.6,
        # As text, not as outlines: it can be searched, copied and read aloud.
        "svg.fonttype": "none",
        # matplotlib makes ids from a random salt otherwise; the same values must give the same
        # bytes.
        "svg.hashsalt": "neurogloss",
        "text.color": theme.ink,
        # Names of runs and models may hold "$", which begins a formula for matplotlib.
        "text.parse_math": False,
        "xtick.color": theme.line,
        "xtick.labelcolor": theme.quiet,
        "ytick.color": theme.line,
        "ytick.labelcolor": theme.quiet,
    }
    return matplotlib.rc_context(rules)


@dataclass(frozen=True, slots=True)
class Drawing:
    """How values are drawn.

    Attributes:
        name: What addresses call it.
        title: Its heading.
        says: What can be seen on it.
        draw: Draws values on a figure, in the colours of a theme.
        height: In inches.
    """

    name: str
    title: str
    says: str
    draw: Callable[[Figure, Theme, Any], None]
    height: float = 2.6

    def svg(self, values: Any, theme: str) -> str:
        """Return values as SVG, for a light or a dark page.

        Not for several threads at once: colours are settings of the process while it draws.
        """
        colours = THEMES[theme]
        with _rules(colours):
            figure = Figure(figsize=(WIDTH, self.height), layout="constrained")
            self.draw(figure, colours, values)
            written = io.StringIO()
            metadata = {"Date": None, "Creator": None, "Title": self.title}
            figure.savefig(written, format="svg", metadata=metadata)
        return _FONT.sub(_SHOWN, written.getvalue())

    def svgs(self, values: Any) -> dict[str, str]:
        """Return values as SVG, by theme."""
        return {theme: self.svg(values, theme) for theme in THEMES}


def say(figure: Figure, theme: Theme, sentence: str) -> None:
    """Draw a sentence in place of a plot that has no values."""
    figure.text(0.02, 0.5, sentence, color=theme.quiet, va="center", wrap=True)


def name_line(axes: Axes, x: float, y: float, text: str, colour: str, **options: Any) -> None:
    """Write the name of a line beside its point at (x, y)."""
    around: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(text, (x, y), color=colour, annotation_clip=False, **{**around, **options})


def percent(share: float) -> str:
    """Return a share as text, without claiming a none or an all that is not so."""
    if 0 < share < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 < share < 1 else f"{100 * share:.0f} %"
