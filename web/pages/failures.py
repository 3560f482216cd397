"""Why neurons of a run failed: classes over time, examples, and how to try them again."""

from dataclasses import dataclass

from fastapi import APIRouter

from web.faces import page
from web.overview.failures import RunFailures
from web.overview.watched import WatchedRuns
from web.reading import RunOf

router = APIRouter()


@dataclass(frozen=True, slots=True)
class FailuresPage:
    """The failures of a run; `failures` is None until they were counted for the first time."""

    run: str
    state: str
    failures: RunFailures | None


@page(router, "/runs/{run}/failures", "failures.html", FailuresPage)
def failures_page(run: RunOf, watched: WatchedRuns) -> FailuresPage:
    """Return the failures of a run by stage and class, with examples of each."""
    return FailuresPage(run.name, run.state, watched.failures.get(run.id))
