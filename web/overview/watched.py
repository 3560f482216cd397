"""The runs whose pages are open: what is read of them once for all pages of the process."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Annotated, NamedTuple

from fastapi import Depends, Request
from sqlalchemy import Connection

from db import runs
from db.session import snapshot
from web.live import Live, Parts
from web.overview.failures import RunFailures, load_failures
from web.overview.heat import HeatMap, HeatPicture, draw, load_heat_map
from web.overview.page import RunPage, RunResults, load_page, read_results
from web.refreshed import Refreshed
from web.rendering import render_part
from web.settings import WebSettings

PARTS = (
    "state", "funnel", "heat", "money", "limits", "failures", "scores", "latest", "workers"
)  # fmt: skip
"""The parts of the page that are live, each a template `parts/run_NAME.html`."""


class RunTopic(NamedTuple):
    """A page of a run that is open: whose, and which numbers its heat map shows."""

    run: str
    scale: str


class Watched:
    """Live pages of runs, and results that are read in the background."""

    part_names = PARTS

    def __init__(self, settings: WebSettings, csrf: str) -> None:
        self._settings, self._csrf = settings, csrf
        self.live = Live(self.read)
        self.results = Refreshed(self._results_of)
        self.heat_maps = Refreshed(self._heat_map_of)
        self.failures = Refreshed(self._failures_of)

    def _results_of(self, run_id: int) -> RunResults:
        with snapshot(self._settings.engine) as connection:
            return read_results(connection, run_id)

    def _heat_map_of(self, run_id: int) -> HeatMap:
        with snapshot(self._settings.engine) as connection:
            return load_heat_map(connection, runs.get(connection, run_id))

    def _failures_of(self, run_id: int) -> RunFailures:
        with snapshot(self._settings.engine) as connection:
            return load_failures(connection, run_id)

    def picture(self, run_id: int, scale: str) -> HeatPicture | None:
        """Return the heat map of a run as it is drawn; None while it is read for the first time."""
        found = self.heat_maps.get(run_id)
        return None if found is None else draw(found, scale)

    def read(self, topics: Sequence[RunTopic]) -> Mapping[RunTopic, Parts]:
        """Return the parts of open pages. Each run is read once."""
        parts: dict[RunTopic, Parts] = {}
        with snapshot(self._settings.engine) as connection:
            for name, group in groupby(sorted(topics), key=lambda topic: topic.run):
                value = self._page_of(connection, name)
                for topic in group:
                    parts[topic] = self._parts(value, topic.scale) if value else {}
        return parts

    def _page_of(self, connection: Connection, name: str) -> RunPage | None:
        run = runs.find(connection, name)
        return None if run is None else load_page(connection, run, "", self.results.get)

    def _parts(self, value: RunPage, scale: str) -> Parts:
        known = {
            "value": value,
            "heat": self.picture(value.id, scale),
            "can_control": self._settings.controls is not None,
            "csrf": self._csrf,
        }
        return {f"part-{part}": render_part(f"parts/run_{part}.html", **known) for part in PARTS}

    def close(self) -> None:
        """End what is live."""
        self.live.close()
        self.results.close()
        self.heat_maps.close()
        self.failures.close()


def _watched_of(request: Request) -> Watched:
    """Return the watched runs of the server."""
    watched: Watched = request.app.state.watched
    return watched


WatchedRuns = Annotated[Watched, Depends(_watched_of, scope="function")]
"""What is read of runs in the background."""
