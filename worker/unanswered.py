"""Storing the requests that brought no answer, also while no answer comes that could bring them."""

import time
from threading import Lock

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import call_minutes
from db.session import transaction
from db.unanswered import replace_retried
from neurogloss.errors import NeuroglossError
from neurogloss.llm.calls import Call
from worker.call_counts import UnansweredCalls

# What `status` shows may be this old; a storm of failures costs one transaction in that time.
EVERY_S = 2.0


class StoredUnanswered:
    """The unanswered requests of one run in this process; see `run_context.UnansweredNotes`.

    Args:
        engine: Of the database.
        run_id: Of the run.
        process: Name of this process, which no other one has.
    """

    def __init__(self, engine: Engine, run_id: int, process: str) -> None:
        self.calls = UnansweredCalls()
        self._engine, self._run_id, self._process = engine, run_id, process
        self._lock = Lock()
        self._next_at = 0.0
        self._has_stored = False  # whether there are rows that say that calls are tried again

    def failed(self, call: Call, identity: bytes, endpoint: str, error: NeuroglossError) -> None:
        """Note a request that brought no answer."""
        self.calls.failed(call, identity, endpoint, error)

    def ended(self, identity: bytes) -> None:
        """Note that a call is not tried again."""
        self.calls.ended(identity)

    def store(self) -> None:
        """Store what was noted, every few seconds. A database that is away is tried again later."""
        with self._lock:
            if time.monotonic() < self._next_at:
                return
            self._next_at = time.monotonic() + EVERY_S
            self._store()

    def close(self) -> None:
        """Store the last counts, and that no call is tried again."""
        with self._lock:
            self._store()

    def _store(self) -> None:
        retried, counts = self.calls.retried(), self.calls.take()
        if not (retried or counts or self._has_stored):
            return
        try:
            with transaction(self._engine) as connection:
                replace_retried(connection, self._run_id, self._process, retried)
                call_minutes.add(connection, self._run_id, counts)
            self._has_stored = bool(retried)
        except SQLAlchemyError:
            self.calls.put_back(counts)
