"""Dependencies of the loaders of pages: a connection, and the run that an address names."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy import Connection

from db import runs
from db.runs import StoredRun
from db.session import snapshot
from web.errors import NotFound
from web.settings import WebSettings


def settings_of(request: Request) -> WebSettings:
    """Return the settings of the server."""
    settings: WebSettings = request.app.state.settings
    return settings


async def _reading(request: Request) -> AsyncIterator[Connection]:
    # Who waits for a connection waits here, and not in a thread: those that have one need threads,
    # and would get none if all were full of those that wait.
    turns: asyncio.Semaphore = request.app.state.reading
    transaction = snapshot(settings_of(request).engine)
    async with turns, contextmanager_in_threadpool(transaction) as connection:
        yield connection


# Its transaction ends before the answer is sent: slow readers keep no connection.
Reading = Annotated[Connection, Depends(_reading, scope="function")]
"""A read-only transaction of one request."""


def _run_of(connection: Reading, run: Annotated[str, Path(description="Its name.")]) -> StoredRun:
    return find_run(connection, run)


def find_run(connection: Connection, run: str) -> StoredRun:
    """Return the run of this name.

    Raises:
        NotFound: There is none that can be looked at.
    """
    found = runs.find(connection, run)
    # An import is shown when it is complete: until then its numbers are of some layers only.
    if found is None or found.state == "importing":
        raise NotFound(f"There is no run {run!r}.", "All runs are on the first page.")
    return found


RunOf = Annotated[StoredRun, Depends(_run_of, scope="function")]
"""The run that the address names."""
