"""Plots that were drawn, so that looking at them again costs nothing."""

from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any

from sqlalchemy import Engine

from db.runs import StoredRun
from db.session import snapshot
from web.plots.catalog import PLOTS
from web.plots.style import THEMES

FRESH_S = 60.0
"""How long a plot of a run that goes on is shown before it is drawn again."""
_MOST = 300


@dataclass(slots=True)
class DrawnPlot:
    """The values of a plot, and its SVG by theme."""

    values: Any
    svg: dict[str, str]
    at: float = field(default_factory=monotonic)


class PlotCache:
    """The plots of a server.

    They are drawn one after another by a thread of their own: matplotlib's settings are the
    process's. A plot of a run that goes on is shown while it is drawn again.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._draws = ThreadPoolExecutor(1, thread_name_prefix="plots")
        self._plots: OrderedDict[tuple[Hashable, ...], Future[DrawnPlot]] = OrderedDict()
        self._renewed: dict[tuple[Hashable, ...], Future[DrawnPlot]] = {}
        self._lock = Lock()

    def get(self, run: StoredRun, name: str) -> DrawnPlot:
        """Return a plot of a run as it is now, or was a minute ago if the run goes on.

        Raises:
            DBAPIError: Its values could not be read.
        """
        key = (run.id, name, run.state, run.finished_at)
        with self._lock:
            plot = self._plots.get(key)
            if plot is None or (plot.done() and plot.exception() is not None):
                plot = self._plots[key] = self._draws.submit(self._draw, run, name)
            elif run.finished_at is None and plot.done():
                plot = self._plots[key] = self._renew(key, plot, run, name)
            self._plots.move_to_end(key)
            while len(self._plots) > _MOST:
                self._plots.popitem(last=False)
        return plot.result()

    def _renew(
        self, key: tuple[Hashable, ...], plot: Future[DrawnPlot], run: StoredRun, name: str
    ) -> Future[DrawnPlot]:
        """Return the plot, or the one that was drawn meanwhile; have an old one drawn again."""
        renewed = self._renewed.get(key)
        if renewed is None:
            if monotonic() - plot.result().at > FRESH_S:
                self._renewed[key] = self._draws.submit(self._draw, run, name)
            return plot
        if not renewed.done():
            return plot
        del self._renewed[key]
        return plot if renewed.exception() is not None else renewed

    def _draw(self, run: StoredRun, name: str) -> DrawnPlot:
        plot = PLOTS[name]
        with snapshot(self._engine) as connection:
            values = plot.load(connection, run)
        return DrawnPlot(values, {theme: plot.svg(values, theme) for theme in THEMES})
