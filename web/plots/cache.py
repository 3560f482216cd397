"""A cache of values and plots that take long to count or to draw."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any

from sqlalchemy import Connection, Engine

from db.runs import StoredRun
from db.session import snapshot
from web.plots.catalog import PLOTS
from web.plots.style import Drawing

FRESH_S = 60.0
"""How long something about a run that goes on is shown before it is counted again."""
_MOST = 300  # plots: some tens of runs in both colours

Key = tuple[Hashable, ...]
Load = Callable[[Connection], Any]


@dataclass(slots=True)
class Kept:
    """A value, and the SVG of its drawings by name, then by theme."""

    value: Any
    svgs: dict[str, dict[str, str]]
    at: float = field(default_factory=monotonic)


class Keeper:
    """Values and plots of a server, counted and drawn one after another by a thread of their own.

    matplotlib's settings are the process's. What is about a run that goes on is shown for a minute,
    and then until it is there again.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # One thread, because matplotlib's settings belong to the whole process.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plots")
        self._kept: OrderedDict[Key, Future[Kept]] = OrderedDict()
        self._renewed: dict[Key, Future[Kept]] = {}
        self._lock = Lock()

    def plot(self, run: StoredRun, name: str) -> Kept:
        """Return a plot of a run.

        Raises:
            DBAPIError: Its values could not be read.
        """
        plot = PLOTS[name]
        return self.get(name, [run], lambda connection: plot.load(connection, run), [plot.drawing])

    def get(
        self, name: str, about: Sequence[StoredRun], load: Load, drawings: Sequence[Drawing]
    ) -> Kept:
        """Return the value `name` of some runs with its drawings, new or from the cache.

        Raises:
            DBAPIError: It could not be read.
        """
        # A run that ends gets a new key, so its plots are counted once more and then stay.
        key = (name, *((run.id, run.state, run.finished_at) for run in about))

        def count() -> Kept:
            with snapshot(self._engine) as connection:
                value = load(connection)
            return Kept(value, {drawing.name: drawing.svgs(value) for drawing in drawings})

        with self._lock:
            kept = self._kept.get(key)
            # An error is not kept: the next request tries again.
            if kept is None or (kept.done() and kept.exception() is not None):
                kept = self._thread.submit(count)
            elif kept.done() and any(run.finished_at is None for run in about):
                kept = self._renew(key, kept, count)
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        # Outside of the lock: others can get what is already there.
        return kept.result()

    def _renew(self, key: Key, kept: Future[Kept], count: Callable[[], Kept]) -> Future[Kept]:
        """Return the cached value, or a newer one; begin to count it again if it is old."""
        renewed = self._renewed.get(key)
        if renewed is None:
            if monotonic() - kept.result().at > FRESH_S:
                self._renewed[key] = self._thread.submit(count)
            return kept
        if not renewed.done():
            return kept
        del self._renewed[key]
        return kept if renewed.exception() is not None else renewed
