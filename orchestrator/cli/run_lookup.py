"""The database and the run that a command is about."""

from sqlalchemy import Engine

from db import runs
from db.runs import StoredRun
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.environment import find_environment, open_database


def open_engine() -> Engine:
    """Return the database of the environment, at this version's schema."""
    return open_database(find_environment())


def find_run(engine: Engine, name: str | None) -> StoredRun:
    """Return the run called `name`, or the latest one.

    Raises:
        InputError: There is none, or it is not imported yet.
    """
    with transaction(engine) as connection:
        run = runs.latest(connection) if name is None else runs.find(connection, name)
    if run is None:
        raise InputError("there is no run yet" if name is None else f"there is no run {name!r}")
    if run.state == "importing":
        raise InputError(f"run {name!r} is not imported yet: the same `neurogloss import` goes on")
    return run
