"""Shards of a GPU worker that need no forward pass, done beside the shard that it is at.

A worker's messages come one at a time, because one forward pass at a time goes through its model.
Work on one core would have all other cores wait, and so would Postgres while it stores. So a thread
looks for shards that may be done meanwhile. Nobody sends it messages: their shards are claimed like
all others, and a message that comes later finds them taken.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import open_shards
from db.session import transaction
from worker.outages import OutageLog

log = logging.getLogger(__name__)

LOOK_S = 0.5  # seconds between looks while there is none
STOP_S = 10.0  # for the shard in progress to end, once the worker is told to stop


class SideShards:
    """The thread that does shards of collect beside others.

    Args:
        engine: Of the database.
        steps: Of collect, the first ones first.
        do: Claims a shard and does it; returns whether it could be claimed.
        stop: Set when the process is told to stop.
    """

    def __init__(
        self,
        engine: Engine,
        steps: Sequence[str],
        do: Callable[[int], bool],
        stop: threading.Event,
    ) -> None:
        self._engine, self._steps, self._do, self._stop = engine, steps, do, stop
        self._thread = threading.Thread(target=self._run, name="side-shards", daemon=True)

    def begin(self) -> None:
        """Do shards from now on."""
        self._thread.start()

    def end(self) -> None:
        """Wait a little for the shard in progress, once the process is told to stop."""
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _run(self) -> None:
        outage = OutageLog()
        while not self._stop.is_set():
            try:
                was_done = self._do_next()
                outage.ended()
            except SQLAlchemyError as error:
                was_done = False
                outage.began("database", error)
            except Exception:
                # Without this thread the work would go on at half the speed, and nobody would know.
                was_done = False
                log.exception("side shard broke")
            if not was_done:
                self._stop.wait(LOOK_S)

    def _do_next(self) -> bool:
        with transaction(self._engine) as connection:
            shard_id = open_shards.first_of_steps(connection, self._steps)
        return shard_id is not None and self._do(shard_id)
