"""Transactions of an import, while no other command can store rows of its run."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from db import runs
from db.run_locks import RunLock
from db.session import transaction
from neurogloss.errors import InputError


@contextmanager
def alone(engine: Engine, run_id: int, lock: RunLock) -> Iterator[Connection]:
    """Open a transaction in which no other command stores anything of the run.

    Raises:
        InputError: The lock of the import is lost.
    """
    with transaction(engine) as connection:
        # First the row, then the lock: a command may lose its lock while it waits for the row.
        runs.get_for_update(connection, run_id)
        if not lock.is_held(connection, run_id):
            raise InputError(
                "the lock of the import was lost, as when this process or the database stood "
                "still, and another command may be importing the run: begin again, and it goes "
                "on from here"
            )
        yield connection
