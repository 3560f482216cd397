"""Questions that are asked in batches: what waits, what is under way, what became of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, LargeBinary, RowMapping, text

from db.bulk import upsert
from db.runs import table
from db.tables import BatchRequest, BatchWait

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
REFUSALS_COUNT_FOR = "24 hours"
_BYTES = {"identity": LargeBinary(), "body": LargeBinary()}  # else psycopg2 gives memory views
SHRINKING = 0.8
"""What is left of the prompt tokens under way when an endpoint refuses to take on so many."""
TOO_MANY_TOKENS = "too_many_tokens"
"""Outcome of a batch that the endpoint refused for its limit on enqueued tokens."""


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
    upsert(connection, table(BatchWait), ("shard_id", "identity", "run_id"), waits)
    upsert(connection, table(BatchRequest), REQUEST_COLUMNS, rows)


def failures(
    connection: Connection, run_id: int, identities: Sequence[bytes]
) -> dict[bytes, RowMapping]:
    """Return why questions will not be answered, by identity."""
    query = text("""
        SELECT identity, failure_class, message, attempts, request_id FROM batch_request
        WHERE run_id = :run AND identity = ANY(:identities) AND failure_class IS NOT NULL
    """).columns(**_BYTES)
    rows = connection.execute(query, {"run": run_id, "identities": list(identities)})
    return {row["identity"]: row for row in rows.mappings()}


def take_turn(connection: Connection, run_id: int, pause_s: float) -> bool:
    """Return whether it is time to look after a run's batches, and put the next time off."""
    statement = text("""
        UPDATE run SET batches_due_at = now() + :pause * interval '1 second'
        WHERE id = :run AND (batches_due_at IS NULL OR batches_due_at <= now())
    """)
    return connection.execute(statement, {"run": run_id, "pause": pause_s}).rowcount == 1


def lock(connection: Connection, run_id: int) -> bool:
    """Be the only one who looks after a run's batches, as long as the connection lives.

    Return False if someone else does.
    """
    query = text("SELECT pg_try_advisory_lock(hashtext('batches'), :run)")
    return bool(connection.execute(query, {"run": run_id}).scalar_one())


def unlock(connection: Connection, run_id: int) -> None:
    """Let others look after the run's batches."""
    query = text("SELECT pg_advisory_unlock(hashtext('batches'), :run)")
    connection.execute(query, {"run": run_id})


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


class Group(NamedTuple):
    """Questions that may be in one batch. `oldest_s`: how long the oldest has waited."""

    endpoint: str
    model: str
    path: str
    n: int
    oldest_s: float


def groups(connection: Connection, run_id: int) -> list[Group]:
    """Return the groups of questions that are in no batch."""
    query = text("""
        SELECT endpoint, model, path, count(*), extract(epoch FROM now() - min(created_at))
        FROM batch_request
        WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL
        GROUP BY endpoint, model, path ORDER BY endpoint, model, path
    """)
    rows = connection.execute(query, {"run": run_id})
    return [Group(row[0], row[1], row[2], int(row[3]), float(row[4])) for row in rows]


def candidates(
    connection: Connection, run_id: int, group: Group, limit: int
) -> Sequence[RowMapping]:
    """Return identity, size in bytes and tokens of a group's questions, the oldest first."""
    query = text("""
        SELECT identity, octet_length(body) AS size, prompt_tokens, max_completion_tokens
        FROM batch_request
        WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL
          AND endpoint = :endpoint AND model = :model AND path = :path
        ORDER BY created_at, identity LIMIT :limit
    """).columns(**_BYTES)
    values = {**group._asdict(), "run": run_id, "limit": limit}
    return connection.execute(query, values).mappings().all()


class Room(NamedTuple):
    """How many batches are under way with how many prompt tokens, and the limit on these.

    The limit is infinite where the endpoint has refused nothing for a day.
    """

    batches: int
    tokens: int
    limit: float


def room(connection: Connection, endpoint: str, model: str) -> Room:
    """Return what is under way at a model of an endpoint, of all runs."""
    query = text(f"""
        SELECT count(*) FILTER (WHERE state <> 'ended'),
               coalesce(sum(prompt_tokens) FILTER (WHERE state <> 'ended'), 0),
               min(enqueued_tokens) FILTER (
                   WHERE outcome = :refused
                     AND created_at > now() - interval '{REFUSALS_COUNT_FOR}')
        FROM batch WHERE endpoint = :endpoint AND model = :model
    """)  # noqa: S608  (a constant)
    values = {"endpoint": endpoint, "model": model, "refused": TOO_MANY_TOKENS}
    count, tokens, refused = connection.execute(query, values).one()
    limit = math.inf if refused is None else SHRINKING * float(refused)
    return Room(int(count), int(tokens), limit)


class Money(NamedTuple):
    """What is left of a run's budget, and what is held of it. Infinite without a budget."""

    left: float
    held: float
    limit: float


def money(connection: Connection, run_id: int) -> Money:
    """Return what a batch may cost. Nobody else sets anything aside until the commit."""
    query = text("SELECT budget_usd FROM run WHERE id = :run FOR NO KEY UPDATE")
    limit = connection.execute(query, {"run": run_id}).scalar_one()
    if limit is None:
        return Money(math.inf, 0.0, math.inf)
    used = text("""
        SELECT (SELECT coalesce(sum(usd + wasted_usd), 0) FROM spend WHERE run_id = :run),
               (SELECT coalesce(sum(usd), 0) FROM budget_hold
                WHERE run_id = :run AND expires_at > now())
    """)
    spent, held = connection.execute(used, {"run": run_id}).one()
    return Money(limit - spent - held, held, limit)


def build(
    connection: Connection,
    run_id: int,
    group: Group,
    mark: str,
    identities: Sequence[bytes],
    *,
    tokens: int,
    enqueued: int,
    usd: float,
) -> RowMapping:
    """Put questions into a new batch, set aside what it may cost, and return the batch."""
    values = {
        "run": run_id,
        "mark": mark,
        "endpoint": group.endpoint,
        "model": group.model,
        "path": group.path,
        "n": len(identities),
        "tokens": tokens,
        "enqueued": enqueued,
    }
    batch = connection.execute(_BUILD, values).mappings().one()
    fill = text("""
        UPDATE batch_request SET batch = :batch WHERE run_id = :run AND identity = ANY(:identities)
    """)
    connection.execute(fill, {"batch": batch["id"], "run": run_id, "identities": list(identities)})
    hold = text("INSERT INTO budget_hold VALUES (:run, 'batch ' || :mark, :usd, 'infinity')")
    connection.execute(hold, {"run": run_id, "mark": mark, "usd": usd})
    return batch


_BUILD = text("""
    INSERT INTO batch (run_id, mark, endpoint, model, path, n_requests, prompt_tokens,
                       enqueued_tokens)
    VALUES (:run, :mark, :endpoint, :model, :path, :n, :tokens, :enqueued)
    RETURNING *
""")


def under_way(connection: Connection, run_id: int) -> Sequence[RowMapping]:
    """Return the batches of a run that have not ended, the oldest first."""
    query = text("SELECT * FROM batch WHERE run_id = :run AND state <> 'ended' ORDER BY id")
    return connection.execute(query, {"run": run_id}).mappings().all()


def uploaded(connection: Connection, batch: int, file_id: str) -> None:
    """Note the file of a batch."""
    query = text("UPDATE batch SET state = 'uploaded', file_id = :file WHERE id = :id")
    connection.execute(query, {"id": batch, "file": file_id})


def submitted(connection: Connection, batch: int, batch_id: str) -> None:
    """Note that the endpoint has taken a batch on."""
    query = text("UPDATE batch SET state = 'submitted', batch_id = :batch WHERE id = :id")
    connection.execute(query, {"id": batch, "batch": batch_id})


def bodies(connection: Connection, batch: int) -> Iterable[tuple[bytes, bytes]]:
    """Yield (identity, body) of the questions of a batch."""
    query = text(
        "SELECT identity, body FROM batch_request WHERE batch = :id ORDER BY identity"
    ).columns(**_BYTES)
    streamed = connection.execution_options(yield_per=500).execute(query, {"id": batch})
    yield from ((identity, body) for identity, body in streamed)


def asked_in(
    connection: Connection, batch: int, identities: Sequence[bytes]
) -> dict[bytes, RowMapping]:
    """Return and lock those of some questions that are in a batch still, by identity."""
    query = text("""
        SELECT identity, purpose, body, attempts FROM batch_request
        WHERE batch = :id AND identity = ANY(:identities) FOR UPDATE
    """).columns(**_BYTES)
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


def end(connection: Connection, batch: RowMapping, outcome: str, *, attempts: int) -> None:
    """Note what became of a batch and give back what was set aside for it.

    Questions that are in it still are asked in another one; `attempts` says whether that counts
    against them.
    """
    values = {"id": batch["id"], "attempts": attempts, "outcome": outcome}
    again = """
        UPDATE batch_request SET batch = NULL, attempts = attempts + :attempts,
               message = CASE WHEN :attempts > 0 THEN :outcome ELSE message END
        WHERE batch = :id
    """
    connection.execute(text(again), values)
    ended = "UPDATE batch SET state = 'ended', outcome = :outcome, ended_at = now() WHERE id = :id"
    connection.execute(text(ended), values)
    release = "DELETE FROM budget_hold WHERE run_id = :run AND process = 'batch ' || :mark"
    connection.execute(text(release), {"run": batch["run_id"], "mark": batch["mark"]})


def give_up(connection: Connection, run_id: int, most: int) -> None:
    """Let questions fail that were in `most` batches in vain."""
    query = text("""
        SELECT identity, coalesce(message, 'no answer in any batch') AS message, request_id,
               'unavailable' AS failure_class
        FROM batch_request
        WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL AND attempts >= :most
    """).columns(**_BYTES)
    lost = connection.execute(query, {"run": run_id, "most": most}).mappings().all()
    failed(connection, run_id, [dict(row) for row in lost])


def _wait_no_longer(connection: Connection, values: Mapping[str, Any]) -> None:
    query = "DELETE FROM batch_wait WHERE run_id = :run AND identity = ANY(:identities)"
    connection.execute(text(query), values)
