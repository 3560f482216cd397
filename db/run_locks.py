"""Locks by which one process at a time does something with a run, such as importing it.

A lock is a row with a lease, which a thread of its holder renews. PostgreSQL's advisory locks of a
session would need neither, but behind a pooler that gives a session to another client after each
transaction, they stay with the session: nobody could release them, and another would have them.
"""

import secrets
import threading
from contextlib import suppress
from datetime import datetime
from typing import Self

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from db.session import transaction

LEASE_S = 20.0
RENEWALS = 5  # in a lease: a few may fail, as while the server restarts


class RunLock:
    """A lock on runs for one purpose, until its block or its process ends.

    Args:
        engine: Of the database.
        purpose: What the runs are locked for: "import" or "batches".
        lease_s: After it a lock may be acquired whose process has died or is frozen.
    """

    def __init__(self, engine: Engine, purpose: str, lease_s: float = LEASE_S) -> None:
        self._engine, self._purpose, self._lease_s = engine, purpose, lease_s
        self._holder = secrets.token_hex(16)
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew, daemon=True, name=f"lock {purpose}")

    def __enter__(self) -> Self:
        self._renewal.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._renewal.join()
        with suppress(SQLAlchemyError), transaction(self._engine) as connection:
            connection.execute(_RELEASE, self._values())  # else it expires

    def try_acquire(self, run_id: int) -> bool:
        """Return whether the lock was acquired, without waiting."""
        with transaction(self._engine) as connection:
            return connection.execute(_ACQUIRE, self._values(run_id)).rowcount == 1

    def acquire(self, run_id: int) -> bool:
        """Return whether the lock was acquired; wait for that of a process that has died.

        One that lives renews its lease meanwhile, by which it is told from one that does not.
        """
        seen = self._expiry(run_id)
        while not self.try_acquire(run_id):
            expiry = self._expiry(run_id)
            if seen is not None and expiry is not None and expiry > seen:
                return False
            seen = seen or expiry
            self._ended.wait(self._lease_s / (4 * RENEWALS))
        return True

    def is_held(self, connection: Connection, run_id: int) -> bool:
        """Return whether the lock is still held, by what is committed.

        What must not be stored by two holders is stored under a lock of the run's row, acquired
        before this is asked: the next holder's transaction waits for it.
        """
        return bool(connection.scalar(_IS_HELD, self._values(run_id)))

    def _expiry(self, run_id: int) -> datetime | None:
        with transaction(self._engine) as connection:
            expiry: datetime | None = connection.scalar(_EXPIRY, self._values(run_id))
        return expiry

    def _renew(self) -> None:
        # In a thread: what the lock is held for may take longer than a lease, such as one upload.
        while not self._ended.wait(self._lease_s / RENEWALS):
            with suppress(SQLAlchemyError), transaction(self._engine) as connection:
                connection.execute(_RENEW, self._values())

    def _values(self, run_id: int | None = None) -> dict[str, object]:
        return {
            "run": run_id,
            "purpose": self._purpose,
            "holder": self._holder,
            "lease": self._lease_s,
        }


_UNTIL = "clock_timestamp() + :lease * interval '1 second'"

_ACQUIRE = text(f"""
    INSERT INTO run_lock AS other (run_id, purpose, holder, expires_at)
    VALUES (:run, :purpose, :holder, {_UNTIL})
    ON CONFLICT (run_id, purpose) DO UPDATE
        SET holder = excluded.holder, expires_at = excluded.expires_at
        WHERE other.expires_at < clock_timestamp() OR other.holder = excluded.holder
""")  # noqa: S608  (a constant)

# A lease that ended is not renewed: another process may have seen that it did.
_RENEW = text(f"""
    UPDATE run_lock SET expires_at = {_UNTIL}
    WHERE purpose = :purpose AND holder = :holder AND expires_at > clock_timestamp()
""")  # noqa: S608  (a constant)

_RELEASE = text("DELETE FROM run_lock WHERE purpose = :purpose AND holder = :holder")

_IS_HELD = text("""
    SELECT EXISTS (
        SELECT FROM run_lock
        WHERE run_id = :run AND purpose = :purpose AND holder = :holder
          AND expires_at > clock_timestamp())
""")

_EXPIRY = text("SELECT expires_at FROM run_lock WHERE run_id = :run AND purpose = :purpose")
