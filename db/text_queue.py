"""Texts from the side of workers: claims with a lease and a fencing token, as of shards."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.text_result_rows import save_result
from db.text_results import TextResult

MAX_ATTEMPTS = 3  # claims whose worker died, after which a request fails


@dataclass(frozen=True, slots=True)
class TextClaim:
    """A worker's right to a request, until its lease runs out."""

    request_id: int
    run_id: int
    token: int


def is_waiting(connection: Connection) -> bool:
    """Return whether a request can be claimed."""
    return bool(connection.scalar(text(f"SELECT EXISTS (SELECT {_FREE})")))


def claim(connection: Connection, worker: str, lease_s: float) -> TextClaim | None:
    """Claim the oldest request that no lease holds; return None if there is none.

    One whose workers died too often fails, and the next is claimed.
    """
    while True:
        row = connection.execute(_CLAIM, {"worker": worker, "lease": lease_s}).first()
        if row is None:
            return None
        *claimed, attempts = row
        if attempts <= MAX_ATTEMPTS:
            return TextClaim(*claimed)
        fail(connection, TextClaim(*claimed), "died", f"{MAX_ATTEMPTS} workers died over it")


_FREE = """
    FROM text_request
    WHERE state IN ('waiting', 'running') AND (state = 'waiting' OR lease_until < now())
"""
# SKIP LOCKED: of two workers that claim at once, the second gets the next request and does not
# wait.
_CLAIM = text(f"""
    UPDATE text_request
    SET state = 'running', token = token + 1, attempts = attempts + 1, worker = :worker,
        started_at = now(), lease_until = now() + :lease * interval '1 second'
    WHERE id = (SELECT id {_FREE} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, run_id, token, attempts
""")  # noqa: S608  (a constant)


def renew(connection: Connection, held: TextClaim, lease_s: float) -> None:
    """Renew the lease of a claim that stands; a row that somebody holds is left as it is."""
    query = f"""
        UPDATE text_request SET lease_until = now() + :lease * interval '1 second'
        WHERE id = (SELECT id FROM text_request WHERE {_MINE} FOR UPDATE SKIP LOCKED)
    """  # noqa: S608  (a constant)
    connection.execute(text(query), {"lease": lease_s, **_key(held)})


def release(connection: Connection, held: TextClaim) -> bool:
    """Give a request back without counting the attempt, as when the worker is told to stop."""
    change = "state = 'waiting', attempts = attempts - 1, lease_until = NULL, worker = NULL"
    return _leave(connection, held, change)


def finish(connection: Connection, held: TextClaim, result: TextResult) -> bool:
    """Store a result if the claim stands; return whether it does."""
    if not _leave(connection, held, "state = 'done', lease_until = NULL, finished_at = now()"):
        return False
    save_result(connection, held.request_id, result)
    return True


def fail(connection: Connection, held: TextClaim, error_class: str, message: str) -> bool:
    """End a request with an error, if the claim stands; return whether it does."""
    change = (
        "state = 'failed', lease_until = NULL, finished_at = now(), "
        "error_class = :class, message = :message"
    )
    shown = message.replace("\0", "\ufffd")[:2000]
    return _leave(connection, held, change, **{"class": error_class, "message": shown})


_MINE = "id = :id AND token = :token AND state = 'running'"


def _key(held: TextClaim) -> dict[str, int]:
    return {"id": held.request_id, "token": held.token}


def _leave(connection: Connection, held: TextClaim, change: str, **values: str) -> bool:
    statement = text(f"UPDATE text_request SET {change} WHERE {_MINE}")  # noqa: S608  (constants of this module)
    return connection.execute(statement, {**_key(held), **values}).rowcount == 1
