"""Batches of calls: which calls go into one, which batches are under way, what they may cost."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, LargeBinary, text

# As long as a batch may take: whatever was enqueued at a refusal is through by then.
LONGEST_BATCH = "24 hours"
BYTES = {"identity": LargeBinary(), "body": LargeBinary()}  # else psycopg2 gives memory views
# A refusal does not tell the limit, which is found in steps from above.
SHRINKING = 0.8
"""Factor on the prompt tokens under way, once an endpoint has refused to take on so many."""
TOO_MANY_TOKENS = "too_many_tokens"
"""Outcome of a batch that the endpoint refused for its limit on enqueued tokens."""


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch as it is stored; see `db.tables.batches.BatchColumns`."""

    id: int
    run_id: int
    mark: str
    endpoint: str
    model: str
    path: str
    state: str
    outcome: str | None
    file_id: str | None
    batch_id: str | None
    n_requests: int
    prompt_tokens: int
    enqueued_tokens: int
    created_at: datetime
    ended_at: datetime | None


_COLUMNS = ", ".join(field.name for field in fields(StoredBatch))


def take_turn(connection: Connection, run_id: int, pause_s: float) -> bool:
    """Return whether a run's batches are due; if so, make them due again after `pause_s`."""
    # The due time is moved before anything is done: if this process dies, another one goes on after
    # the pause, and until then nobody submits the same calls.
    statement = text("""
        UPDATE run SET batches_due_at = now() + :pause * interval '1 second'
        WHERE id = (
            SELECT id FROM run
            WHERE id = :run AND (batches_due_at IS NULL OR batches_due_at <= now())
            FOR NO KEY UPDATE SKIP LOCKED)
    """)
    return connection.execute(statement, {"run": run_id, "pause": pause_s}).rowcount == 1


def lock_building(connection: Connection, base_url: str) -> None:
    """Let no other process build batches for a server until the commit.

    Runs share its room, and must not put one call into two batches.
    """
    # Of the transaction, which no pooler can leave with another client; see `db.run_locks`.
    name = {"name": f"batches of {base_url}"}
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), name)


class Group(NamedTuple):
    """Calls that may be in one batch. `oldest_s`: how long the oldest has waited."""

    endpoint: str
    model: str
    path: str
    n: int
    oldest_s: float


def groups(connection: Connection, run_id: int) -> list[Group]:
    """Return the groups of calls that are in no batch."""
    query = text("""
        SELECT endpoint, model, path, count(*), extract(epoch FROM now() - min(created_at))
        FROM batch_request
        WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL
        GROUP BY endpoint, model, path ORDER BY endpoint, model, path
    """)
    rows = connection.execute(query, {"run": run_id})
    return [Group(row[0], row[1], row[2], int(row[3]), float(row[4])) for row in rows]


class PendingRequest(NamedTuple):
    """A call that is in no batch. `size` is that of its body, in bytes."""

    identity: bytes
    size: int
    prompt_tokens: int
    max_completion_tokens: int


def candidates(
    connection: Connection, run_id: int, group: Group, limit: int
) -> list[PendingRequest]:
    """Return the calls of a group that are in no batch, the oldest first.

    Calls that are in the batch of another run are left out: its answer is theirs. The batches of a
    paused run are not collected, and those of a cancelled one for as long as somebody waits for
    their end, which is a day at most; so nothing waits for the former, nor longer for the latter.
    """
    query = text(f"""
        SELECT identity, octet_length(body) AS size, prompt_tokens, max_completion_tokens
        FROM batch_request AS waiting
        WHERE run_id = :run AND batch IS NULL AND failure_class IS NULL
          AND endpoint = :endpoint AND model = :model AND path = :path
          AND NOT EXISTS (
              SELECT FROM batch_request AS sent
              JOIN batch ON batch.id = sent.batch JOIN run ON run.id = sent.run_id
              WHERE sent.identity = waiting.identity AND sent.run_id <> :run
                AND run.state IN ('running', 'cancelled')
                AND batch.created_at > now() - interval '{LONGEST_BATCH}')
        ORDER BY created_at, identity LIMIT :limit
    """).columns(**BYTES)  # noqa: S608  (a constant)
    values = {**group._asdict(), "run": run_id, "limit": limit}
    return [PendingRequest(*row) for row in connection.execute(query, values)]


class Room(NamedTuple):
    """Batches that are under way, their prompt tokens, and the limit on these.

    The limit is infinite where the endpoint has refused nothing for a day.
    """

    batches: int
    tokens: int
    limit: float


def room(connection: Connection, endpoint: str, model: str) -> Room:
    """Return the room for batches at a model of an endpoint, which all runs share."""
    query = text(f"""
        SELECT count(*) FILTER (WHERE state <> 'ended'),
               coalesce(sum(prompt_tokens) FILTER (WHERE state <> 'ended'), 0),
               min(enqueued_tokens) FILTER (
                   WHERE outcome = :refused
                     AND created_at > now() - interval '{LONGEST_BATCH}')
        FROM batch WHERE endpoint = :endpoint AND model = :model
    """)  # noqa: S608  (a constant)
    values = {"endpoint": endpoint, "model": model, "refused": TOO_MANY_TOKENS}
    count, tokens, refused = connection.execute(query, values).one()
    limit = math.inf if refused is None else SHRINKING * float(refused)
    return Room(int(count), int(tokens), limit)


class Money(NamedTuple):
    """What is left and what is held of a run's budget, in USD; infinite without a budget."""

    left: float
    held: float
    limit: float


def money(connection: Connection, run_id: int) -> Money:
    """Return what a batch may cost, and lock the run's budget until the commit."""
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
) -> StoredBatch:
    """Put calls into a new batch, set aside what it may cost, and return the batch."""
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
    batch = StoredBatch(*connection.execute(_BUILD, values).one())
    fill = text("""
        UPDATE batch_request SET batch = :batch WHERE run_id = :run AND identity = ANY(:identities)
    """)
    connection.execute(fill, {"batch": batch.id, "run": run_id, "identities": list(identities)})
    # Without an expiry: a batch may take a day, and any process may collect it. `end` deletes the
    # hold.
    hold = text("INSERT INTO budget_hold VALUES (:run, 'batch ' || :mark, :usd, 'infinity')")
    connection.execute(hold, {"run": run_id, "mark": mark, "usd": usd})
    return batch


_BUILD = text(f"""
    INSERT INTO batch (run_id, mark, endpoint, model, path, n_requests, prompt_tokens,
                       enqueued_tokens)
    VALUES (:run, :mark, :endpoint, :model, :path, :n, :tokens, :enqueued)
    RETURNING {_COLUMNS}
""")  # noqa: S608  (constants)


def under_way(connection: Connection, run_id: int) -> list[StoredBatch]:
    """Return the batches of a run that have not ended, the oldest first."""
    query = text(f"""
        SELECT {_COLUMNS} FROM batch WHERE run_id = :run AND state <> 'ended' ORDER BY id
    """)  # noqa: S608  (constants)
    return [StoredBatch(*row) for row in connection.execute(query, {"run": run_id})]


def uploaded(connection: Connection, batch: int, file_id: str) -> None:
    """Note the file of a batch."""
    query = text("UPDATE batch SET state = 'uploaded', file_id = :file WHERE id = :id")
    connection.execute(query, {"id": batch, "file": file_id})


def submitted(connection: Connection, batch: int, batch_id: str) -> bool:
    """Note that the endpoint has taken a batch on; return False if it has, under another id."""
    query = text("""
        UPDATE batch SET state = 'submitted', batch_id = :batch
        WHERE id = :id AND coalesce(batch_id, :batch) = :batch
    """)
    return connection.execute(query, {"id": batch, "batch": batch_id}).rowcount == 1


def bodies(connection: Connection, batch: int) -> Iterable[tuple[bytes, bytes]]:
    """Yield (identity, body) of the calls of a batch."""
    query = text(
        "SELECT identity, body FROM batch_request WHERE batch = :id ORDER BY identity"
    ).columns(**BYTES)
    streamed = connection.execution_options(yield_per=500).execute(query, {"id": batch})
    yield from ((identity, body) for identity, body in streamed)


def end(connection: Connection, batch: StoredBatch, outcome: str, *, attempts: int) -> None:
    """Note what became of a batch and give back what was set aside for it.

    Calls that are in it still are put into another one; `attempts` says whether that counts against
    them.
    """
    values = {"id": batch.id, "attempts": attempts, "outcome": outcome}
    again = """
        UPDATE batch_request SET batch = NULL, attempts = attempts + :attempts,
               message = CASE WHEN :attempts > 0 THEN :outcome ELSE message END
        WHERE batch = :id
    """
    connection.execute(text(again), values)
    ended = "UPDATE batch SET state = 'ended', outcome = :outcome, ended_at = now() WHERE id = :id"
    connection.execute(text(ended), values)
    release = "DELETE FROM budget_hold WHERE run_id = :run AND process = 'batch ' || :mark"
    connection.execute(text(release), {"run": batch.run_id, "mark": batch.mark})
