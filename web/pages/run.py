"""The page of a run, and the events that keep it live."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from web.errors import Forbidden
from web.faces import page
from web.live import EventStream
from web.overview.page import RunPage, load_page
from web.overview.watched import RunTopic, Watched, watched_of
from web.reading import Reading, RunOf

router = APIRouter()

WatchedRuns = Annotated[Watched, Depends(watched_of, scope="function")]


@page(router, "/runs/{run}", "run.html", RunPage)
def run_page(connection: Reading, run: RunOf, watched: WatchedRuns) -> RunPage:
    """Return how far a run is, what it costs, what bounds it, and what has come out of it."""
    return load_page(connection, run, watched.results.get)


@router.get("/runs/{run}/events", include_in_schema=False)
def run_events(run: RunOf, watched: WatchedRuns, scale: str = "score") -> Response:
    """Return the parts of the page of a run as they change, as server-sent events."""
    if watched.live.is_full:
        raise Forbidden("Too many pages are open.", "Close some, or reload this one.", 503)
    return EventStream(watched.live.events(RunTopic(run.name, scale)))
