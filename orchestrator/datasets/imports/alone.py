"""Transactions of an import that no other command stores rows of the same run beside."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from db import runs
from db.imports import ImportLock
from db.session import transaction
from neurogloss.errors import InputError


@contextmanager
def alone(engine: Engine, run_id: int, lock: ImportLock) -> Iterator[Connection]:
    """Open a transaction in which no other command stores anything of the run.

    Raises:
        InputError: The lock of the import is lost.
    """
    with transaction(engine) as connection:
        runs.get_for_update(connection, run_id)
        if not lock.is_held(run_id):
            raise InputError(
                "the connection that held the lock of the import broke, so another command may be "
                "importing the run: begin again, and it goes on from here"
            )
        yield connection
