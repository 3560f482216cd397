"""Calls that are made in batches: which shards wait for them, and what became of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from db.batches import BYTES
from db.bulk import upsert
from db.tables.batches import batch_request_table, batch_wait_table


class NewRequest(NamedTuple):
    """A call that is to be made in a batch; see `db.tables.batches.BatchRequestColumns`."""

    run_id: int
    identity: bytes
    purpose: str
    endpoint: str
    model: str
    path: str
    body: bytes
    prompt_tokens: int
    max_completion_tokens: int


def request(
    connection: Connection,
    run_id: int,
    shard_id: int,
    identities: Iterable[bytes],
    requests: Iterable[NewRequest],
) -> None:
    """Let a shard wait for the answers to calls, and store those that are not requested yet."""
    waits = ((shard_id, identity, run_id) for identity in identities)
    upsert(connection, batch_wait_table, ("shard_id", "identity", "run_id"), waits)
    # Several shards may wait for the same call, which is requested once.
    upsert(connection, batch_request_table, NewRequest._fields, requests)


class RequestFailure(NamedTuple):
    """Why a call will not be answered."""

    failure_class: str
    message: str
    attempts: int
    request_id: str | None


def failures(
    connection: Connection, run_id: int, identities: Sequence[bytes]
) -> dict[bytes, RequestFailure]:
    """Return why calls will not be answered, by identity."""
    query = text("""
        SELECT identity, failure_class, message, attempts, request_id FROM batch_request
        WHERE run_id = :run AND identity = ANY(:identities) AND failure_class IS NOT NULL
    """).columns(**BYTES)
    rows = connection.execute(query, {"run": run_id, "identities": list(identities)})
    return {identity: RequestFailure(*values) for identity, *values in rows}


def pending(connection: Connection, run_id: int, most: int) -> int:
    """Return how many calls are in no batch yet; counting stops at `most`."""
    query = text("""
        SELECT count(*) FROM (
            SELECT FROM batch_request
            WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL LIMIT :most) AS found
    """)
    return int(connection.execute(query, {"run": run_id, "most": most}).scalar_one())


def withdraw(connection: Connection, run_id: int, endpoints: Sequence[str]) -> int:
    """Drop the requests to all endpoints but these, unless they are in a batch already.

    An endpoint that was asked in batches may have been set to be asked online. Requests that
    somebody holds are left for the next time.
    """
    statement = text("""
        WITH dropped AS (
            DELETE FROM batch_request
            WHERE run_id = :run AND identity IN (
                SELECT identity FROM batch_request
                WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL
                  AND endpoint <> ALL(:endpoints)
                FOR UPDATE SKIP LOCKED)
            RETURNING identity)
        DELETE FROM batch_wait USING dropped
        WHERE batch_wait.run_id = :run AND batch_wait.identity = dropped.identity
    """)
    return connection.execute(statement, {"run": run_id, "endpoints": list(endpoints)}).rowcount


class SentRequest(NamedTuple):
    """A call that is in a batch. `attempts` are the batches that it was in before."""

    purpose: str
    body: bytes
    attempts: int


def asked_in(
    connection: Connection, batch: int, identities: Sequence[bytes]
) -> dict[bytes, SentRequest]:
    """Return and lock those of some calls that are in a batch still, by identity."""
    query = text("""
        SELECT identity, purpose, body, attempts FROM batch_request
        WHERE batch = :id AND identity = ANY(:identities) FOR UPDATE
    """).columns(**BYTES)
    rows = connection.execute(query, {"id": batch, "identities": list(identities)})
    return {identity: SentRequest(*values) for identity, *values in rows}


def answered(connection: Connection, run_id: int, identities: Sequence[bytes]) -> None:
    """Drop requests whose answers are stored; shards wait for them no longer."""
    values = {"run": run_id, "identities": list(identities)}
    query = "DELETE FROM batch_request WHERE run_id = :run AND identity = ANY(:identities)"
    connection.execute(text(query), values)
    _wait_no_longer(connection, values)


def drop_answered(connection: Connection, run_id: int) -> None:
    """Drop requests in no batch whose answers another run has stored meanwhile."""
    query = text("""
        SELECT identity FROM batch_request AS request
        WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL
          AND EXISTS (SELECT FROM call WHERE call.identity = request.identity)
    """).columns(**BYTES)
    if identities := list(connection.scalars(query, {"run": run_id})):
        answered(connection, run_id, identities)


class Unanswerable(NamedTuple):
    """A call that will not be answered, and why."""

    identity: bytes
    failure_class: str
    message: str
    request_id: str | None


def failed(connection: Connection, run_id: int, requests: Sequence[Unanswerable]) -> None:
    """Note why calls will not be answered; shards wait for them no longer."""
    if not requests:
        return
    query = text("""
        UPDATE batch_request SET batch = NULL, message = :message,
               failure_class = :failure_class, request_id = :request_id
        WHERE run_id = :run AND identity = :identity
    """)
    connection.execute(query, [{"run": run_id, **request._asdict()} for request in requests])
    identities = [request.identity for request in requests]
    _wait_no_longer(connection, {"run": run_id, "identities": identities})


class Again(NamedTuple):
    """A call that is to be put into another batch, and why.

    `attempts` is 1 if the batch that it was in counts against it, else 0.
    """

    identity: bytes
    body: bytes
    attempts: int
    message: str


def ask_again(connection: Connection, run_id: int, requests: Sequence[Again]) -> None:
    """Take calls out of their batch, to be put into another one, with these bodies."""
    if not requests:
        return
    query = text("""
        UPDATE batch_request
        SET batch = NULL, body = :body, attempts = attempts + :attempts, message = :message
        WHERE run_id = :run AND identity = :identity
    """)
    connection.execute(query, [{"run": run_id, **again._asdict()} for again in requests])


def give_up(connection: Connection, run_id: int, most: int) -> None:
    """Let calls fail that were in `most` batches in vain."""
    query = text("""
        SELECT identity, 'unavailable' AS failure_class,
               coalesce(message, 'no answer in any batch') AS message, request_id
        FROM batch_request
        WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL AND attempts >= :most
    """).columns(**BYTES)
    rows = connection.execute(query, {"run": run_id, "most": most})
    failed(connection, run_id, [Unanswerable(*row) for row in rows])


def _wait_no_longer(connection: Connection, values: Mapping[str, Any]) -> None:
    query = "DELETE FROM batch_wait WHERE run_id = :run AND identity = ANY(:identities)"
    connection.execute(text(query), values)
