"""Questions that are asked in batches: who waits for them, and what became of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, text

from db.batches import BYTES
from db.bulk import upsert
from db.runs import table
from db.tables import BatchRequestTable, BatchWaitTable

REQUEST_COLUMNS = (
    "run_id",
    "identity",
    "purpose",
    "endpoint",
    "model",
    "path",
    "body",
    "prompt_tokens",
    "max_completion_tokens",
)


def request(
    connection: Connection,
    run_id: int,
    shard_id: int,
    identities: Iterable[bytes],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Let a shard wait for the answers to questions, and ask those that nobody asks yet.

    `rows` are in the order of REQUEST_COLUMNS.
    """
    waits = ((shard_id, identity, run_id) for identity in identities)
    upsert(connection, table(BatchWaitTable), ("shard_id", "identity", "run_id"), waits)
    upsert(connection, table(BatchRequestTable), REQUEST_COLUMNS, rows)


def failures(
    connection: Connection, run_id: int, identities: Sequence[bytes]
) -> dict[bytes, RowMapping]:
    """Return why questions will not be answered, by identity."""
    query = text("""
        SELECT identity, failure_class, message, attempts, request_id FROM batch_request
        WHERE run_id = :run AND identity = ANY(:identities) AND failure_class IS NOT NULL
    """).columns(**BYTES)
    rows = connection.execute(query, {"run": run_id, "identities": list(identities)})
    return {row["identity"]: row for row in rows.mappings()}


def pending(connection: Connection, run_id: int, most: int) -> int:
    """Return how many questions are in no batch yet; counting stops at `most`."""
    query = text("""
        SELECT count(*) FROM (
            SELECT FROM batch_request
            WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL LIMIT :most) AS found
    """)
    return int(connection.execute(query, {"run": run_id, "most": most}).scalar_one())


def withdraw(connection: Connection, run_id: int, endpoints: Sequence[str]) -> int:
    """Drop the questions to all other endpoints, unless they are in a batch already.

    An endpoint may be asked online again, where it was asked in batches before.
    """
    statement = text("""
        WITH dropped AS (
            DELETE FROM batch_request
            WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL
              AND endpoint <> ALL(:endpoints)
            RETURNING identity)
        DELETE FROM batch_wait USING dropped
        WHERE batch_wait.run_id = :run AND batch_wait.identity = dropped.identity
    """)
    return connection.execute(statement, {"run": run_id, "endpoints": list(endpoints)}).rowcount


def asked_in(
    connection: Connection, batch: int, identities: Sequence[bytes]
) -> dict[bytes, RowMapping]:
    """Return and lock those of some questions that are in a batch still, by identity."""
    query = text("""
        SELECT identity, purpose, body, attempts FROM batch_request
        WHERE batch = :id AND identity = ANY(:identities) FOR UPDATE
    """).columns(**BYTES)
    rows = connection.execute(query, {"id": batch, "identities": list(identities)})
    return {row["identity"]: row for row in rows.mappings()}


def answered(connection: Connection, run_id: int, identities: Sequence[bytes]) -> None:
    """Drop questions whose answers are stored; who waited for them waits no longer."""
    values = {"run": run_id, "identities": list(identities)}
    query = "DELETE FROM batch_request WHERE run_id = :run AND identity = ANY(:identities)"
    connection.execute(text(query), values)
    _wait_no_longer(connection, values)


def failed(connection: Connection, run_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note why questions will not be answered: identity, failure_class, message, request_id."""
    if not rows:
        return
    query = text("""
        UPDATE batch_request SET batch = NULL, message = :message,
               failure_class = :failure_class, request_id = :request_id
        WHERE run_id = :run AND identity = :identity
    """)
    connection.execute(query, [{"run": run_id, **row} for row in rows])
    identities = [row["identity"] for row in rows]
    _wait_no_longer(connection, {"run": run_id, "identities": identities})


class Again(NamedTuple):
    """A question that is to be asked in another batch, and why.

    `attempts` is 1 if the batch that it was in counts against it, else 0.
    """

    identity: bytes
    body: bytes
    attempts: int
    message: str


def ask_again(connection: Connection, run_id: int, questions: Sequence[Again]) -> None:
    """Take questions out of their batch, to be asked in another one, with these bodies."""
    if not questions:
        return
    query = text("""
        UPDATE batch_request
        SET batch = NULL, body = :body, attempts = attempts + :attempts, message = :message
        WHERE run_id = :run AND identity = :identity
    """)
    connection.execute(query, [{"run": run_id, **again._asdict()} for again in questions])


def give_up(connection: Connection, run_id: int, most: int) -> None:
    """Let questions fail that were in `most` batches in vain."""
    query = text("""
        SELECT identity, coalesce(message, 'no answer in any batch') AS message, request_id,
               'unavailable' AS failure_class
        FROM batch_request
        WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL AND attempts >= :most
    """).columns(**BYTES)
    lost = connection.execute(query, {"run": run_id, "most": most}).mappings().all()
    failed(connection, run_id, [dict(row) for row in lost])


def _wait_no_longer(connection: Connection, values: Mapping[str, Any]) -> None:
    query = "DELETE FROM batch_wait WHERE run_id = :run AND identity = ANY(:identities)"
    connection.execute(text(query), values)
