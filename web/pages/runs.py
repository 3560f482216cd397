"""The first page: all runs."""

from dataclasses import dataclass

from fastapi import APIRouter

from db.run_list import ComparableRun, RunOverview, comparable, overviews
from web.faces import page
from web.reading import Reading

router = APIRouter()


@dataclass(frozen=True, slots=True)
class RunsPage:
    """All runs that can be looked at, the latest first, and with what each can be compared."""

    runs: list[RunOverview]
    comparable: list[ComparableRun]


@page(router, "/", "runs.html", RunsPage, json="/runs.json")
def runs_page(connection: Reading) -> RunsPage:
    """Return all runs with their states, neurons and costs."""
    found = [run for run in overviews(connection) if run.state != "importing"]
    return RunsPage(found[::-1], comparable(connection))
