"""Follow every run of a database, for as long as the process lives: what a service does."""

import threading
import time
from collections.abc import Callable
from typing import NoReturn

from sqlalchemy import Engine

from db import runs
from db.runs import StoredRun
from db.session import transaction
from neurogloss.errors import RunError
from worker.outages import retry_while_db_down
from worker.run import pause_run

LOOK_EVERY_S = 1.0  # for runs that have begun or go on


def follow_every_run(engine: Engine, follow: Callable[[StoredRun], None]) -> NoReturn:
    """Call `follow` with each run that is running, each in a thread of its own.

    So is a paused one until its workers have given their shards back. A run that was paused and
    goes on is followed anew. What `follow` raises is raised here, so that
    a fault ends the process, except for errors that concern one run: they pause it.
    """
    followers: dict[int, _Follower] = {}
    while True:
        for run in retry_while_db_down(lambda: _attended(engine)):
            if run.id not in followers:
                followers[run.id] = _Follower(engine, run, follow)
                followers[run.id].start()
        time.sleep(LOOK_EVERY_S)
        followers = {id_: one for id_, one in followers.items() if one.is_at_it()}


def _attended(engine: Engine) -> list[StoredRun]:
    with transaction(engine) as connection:
        return runs.attended(connection)


class _Follower(threading.Thread):
    """Follows one run. The process may end meanwhile: what is known is in the database."""

    def __init__(self, engine: Engine, run: StoredRun, follow: Callable[[StoredRun], None]) -> None:
        super().__init__(name=f"follower of {run.name}", daemon=True)
        self._engine, self._run, self._follow = engine, run, follow
        self._error: BaseException | None = None

    def run(self) -> None:
        """Follow the run until it is not running any more."""
        try:
            self._follow(self._run)
        except RunError as error:
            pause_run(self._engine, self._run.id, error)
        except BaseException as error:
            self._error = error

    def is_at_it(self) -> bool:
        """Return whether the run is still followed; raise what ended that, if anything did."""
        # Raised in the main thread: an error that only ends a thread would leave its run
        # unattended.
        if not self.is_alive() and self._error is not None:
            raise self._error
        return self.is_alive()
