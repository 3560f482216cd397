"""The page of a run, and the events that keep it live."""

from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response

from web.errors import Forbidden
from web.faces import json_answer, page
from web.live import EventStream
from web.overview.heat import SCALES
from web.overview.page import RunPage, load_page
from web.overview.watched import RunTopic, WatchedRuns
from web.reading import Reading, RunOf

router = APIRouter()

ScaleName = Literal[*SCALES]  # type: ignore[valid-type]


@page(router, "/runs/{run}", "run.html", RunPage)
def run_page(
    connection: Reading, run: RunOf, watched: WatchedRuns, scale: ScaleName = "score"
) -> RunPage:
    """Return how far a run is, what it costs, what bounds it, and what has come out of it."""
    return load_page(connection, run, scale, watched.results.get)


@router.get("/runs/{run}/heat.json")
def run_heat(run: RunOf, watched: WatchedRuns) -> Response:
    """Return the cells of the heat map of a run, by layer and block of neurons."""
    heat = watched.heat_maps.get(run.id)
    if heat is None:
        raise Forbidden("The heat map is being read.", "Ask again in a few seconds.", 503)
    return json_answer(heat.values())


@router.get("/runs/{run}/events", include_in_schema=False)
def run_events(run: RunOf, watched: WatchedRuns, scale: ScaleName = "score") -> Response:
    """Return the parts of the page of a run as they change, as server-sent events."""
    if watched.live.is_full:
        raise Forbidden("Too many pages are open.", "Close some, or reload this one.", 503)
    return EventStream(watched.live.events(RunTopic(run.name, scale)))
