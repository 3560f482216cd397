"""Shards: claims with a lease and a fencing token.

A shard goes waiting -> ready -> queued -> leased -> done. `queued` and `leased` last until
`lease_until` by the database's clock; a shard past it is ready again, whatever became of the
message or the worker. Every claim raises the shard's token, and results are accepted under the
latest token only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text

# Several, since a worker may die of something that is not the shard's fault, and few, since each
# attempt of a shard that kills its worker costs a whole lease. Stops and outages do not count: see
# `release`.
MAX_ATTEMPTS = 5  # claims without a result after which a shard is parked instead of tried again


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to a shard, until its lease runs out."""

    shard_id: int
    run_id: int
    stage: str
    step: str
    layer: int
    start: int
    stop: int
    weight: int
    token: int
    attempts: int


class QueuedShard(NamedTuple):
    """A shard that a message is to be sent for."""

    id: int
    stage: str


def claim(connection: Connection, shard_id: int, worker: str, lease_s: float) -> Claim | None:
    """Claim a shard of a running run that no lease holds; return None if it cannot be claimed.

    One that another transaction changes just now cannot: that one may belong to a frozen process.
    """
    values = {"shard": shard_id, "worker": worker, "lease": lease_s}
    row = connection.execute(_CLAIM, values).first()
    return None if row is None else Claim(*row)


# The attempt is counted here, not where it fails: a worker that is killed for its memory reports
# nothing. A shard may be claimed in each of these states, since a message may arrive before or
# after a sweep has seen that the last lease ended.
_CLAIM = text("""
    UPDATE shard SET state = 'leased', token = shard.token + 1, attempts = attempts + 1,
           worker = :worker, lease_until = now() + :lease * interval '1 second',
           claimed_at = now(), fraction = 0
    FROM run
    WHERE shard.id = (SELECT id FROM shard WHERE id = :shard FOR UPDATE SKIP LOCKED)
      AND shard.run_id = run.id AND run.state = 'running'
      AND (shard.state IN ('ready', 'queued')
           OR shard.state = 'leased' AND shard.lease_until < now())
    RETURNING shard.id AS shard_id, run_id, stage, step, layer, start, stop, weight, token, attempts
""")


def renew(
    connection: Connection,
    claims: Sequence[Claim],
    lease_s: float,
    fractions: Sequence[float] | None = None,
) -> set[int]:
    """Renew leases; return the ids of the shards whose leases are renewed.

    `fractions` says how much of each shard is done, for those who follow the run.

    A row that a transaction holds is left out, such as the one that commits the shard: the leases
    of all other shards would wait for it. `still_held` says whether it is the caller's.
    """
    query = f"""
        WITH free AS (SELECT shard.id {_MINE} FOR UPDATE OF shard SKIP LOCKED)
        UPDATE shard SET lease_until = now() + :lease * interval '1 second', fraction = now.fraction
        FROM free JOIN unnest(CAST(:ids AS bigint[]), CAST(:fractions AS real[]))
             AS now (id, fraction) USING (id)
        WHERE shard.id = free.id RETURNING shard.id
    """  # noqa: S608  (a constant)
    done = list(fractions or [0.0] * len(claims))
    values = {"lease": lease_s, "fractions": done, **_pairs(claims)}
    return set(connection.execute(text(query), values).scalars())


def still_held(connection: Connection, claims: Sequence[Claim]) -> set[int]:
    """Return the ids of the shards whose claim stands, by what is committed."""
    return set(connection.execute(text(f"SELECT shard.id {_MINE}"), _pairs(claims)).scalars())


_MINE = """
    FROM shard
    JOIN unnest(CAST(:ids AS bigint[]), CAST(:tokens AS int[])) AS mine (id, token)
      ON shard.id = mine.id AND shard.token = mine.token AND shard.state = 'leased'
"""


def _pairs(claims: Sequence[Claim]) -> dict[str, list[int]]:
    return {"ids": [c.shard_id for c in claims], "tokens": [c.token for c in claims]}


def hold(connection: Connection, held: Claim) -> bool:
    """Lock a shard until the commit, if its claim still stands; return whether it does."""
    query = text(
        "SELECT FROM shard WHERE id = :id AND token = :token AND state = 'leased' FOR UPDATE"
    )
    values = {"id": held.shard_id, "token": held.token}
    return connection.execute(query, values).first() is not None


def finish(connection: Connection, held: Claim) -> bool:
    """Mark a shard as done, if its claim still stands. Holds the row until the commit."""
    return _leave(connection, held, "state = 'done', lease_until = NULL, error = NULL")


def release(connection: Connection, held: Claim) -> bool:
    """Give a shard back without counting the attempt, as when the worker is told to stop."""
    # `claim` has counted the attempt.
    change = "state = 'ready', attempts = attempts - 1, lease_until = NULL, worker = NULL"
    return _leave(connection, held, change)


def unqueue(connection: Connection, shard_id: int) -> None:
    """Reset a queued shard whose message was discarded."""
    change = "state = 'ready', lease_until = NULL"
    query = text(f"UPDATE shard SET {change} WHERE id = :id AND state = 'queued'")  # noqa: S608  (a constant)
    connection.execute(query, {"id": shard_id})


def wait(connection: Connection, held: Claim) -> bool:
    """Give a shard back until its calls, which are put into batches, are answered."""
    # `asked` says that it has no more calls to put into batches: `queue(only_asked=True)` may take
    # it.
    change = "state = 'waiting', attempts = attempts - 1, lease_until = NULL, asked = true"
    return _leave(connection, held, change)


def fail(connection: Connection, held: Claim, error: str) -> bool:
    """Give a shard back after an error; it is tried again up to MAX_ATTEMPTS times."""
    change = "state = 'ready', lease_until = NULL, error = :error"
    # Bounded: an error may quote all that a server said.
    return _leave(connection, held, change, error=error[:2000])


def _leave(connection: Connection, held: Claim, change: str, **values: str) -> bool:
    # Under the token of the claim: once another worker has claimed the shard, this changes nothing.
    statement = text(
        f"UPDATE shard SET {change} WHERE id = :id AND token = :token AND state = 'leased'"  # noqa: S608  (constants of this module)
    )
    result = connection.execute(statement, {"id": held.shard_id, "token": held.token, **values})
    return result.rowcount == 1


def sweep(connection: Connection, run_id: int) -> int:
    """Make shards ready again whose message or worker is gone. Return how many had a worker.

    Rows that somebody holds are left for the next time: a worker may be frozen while it commits.
    """
    # An array is computed once, before any row is changed, and its rows are found by their key. A
    # join with the subquery might evaluate it again, and lock other rows each time.
    n_leased = connection.scalar(
        text("""
            WITH lapsed AS MATERIALIZED (
                SELECT id, state FROM shard
                WHERE run_id = :run AND state IN ('queued', 'leased') AND lease_until < now()
                FOR UPDATE SKIP LOCKED),
            swept AS (
                UPDATE shard SET state = 'ready', worker = NULL, lease_until = NULL,
                       error = CASE state WHEN 'leased' THEN worker || ' was not heard of any more'
                               ELSE error END
                WHERE id = ANY (ARRAY(SELECT id FROM lapsed)))
            SELECT count(*) FROM lapsed WHERE state = 'leased'
        """),
        {"run": run_id},
    )
    return int(n_leased or 0)


def queue(
    connection: Connection,
    run_id: int,
    stages: Sequence[str],
    limit: int,
    lease_s: float,
    *,
    only_asked: bool = False,
) -> list[QueuedShard]:
    """Mark up to `limit` ready shards as queued and return them.

    Stages come in the order of `stages`: with the later ones first, neurons are finished rather
    than begun. Steps of collect for which nothing waits come last. Two dispatchers never get the
    same shard. With `only_asked`, shards are left that may have calls to put into batches.
    """
    # SKIP LOCKED: a second dispatcher takes other shards instead of waiting for these.
    rows = connection.execute(
        text("""
            UPDATE shard SET state = 'queued', lease_until = now() + :lease * interval '1 second'
            WHERE id IN (
                SELECT id FROM shard
                WHERE run_id = :run AND state = 'ready' AND stage = ANY(:stages)
                  AND attempts < :most
                  AND (asked OR stage = 'score' OR NOT :only_asked)
                ORDER BY array_position(CAST(:stages AS text[]), stage),
                         step IN ('baselines', 'connections'), id
                LIMIT :limit FOR UPDATE SKIP LOCKED)
            RETURNING id, stage
        """),
        {
            "run": run_id,
            "stages": list(stages),
            "limit": limit,
            "lease": lease_s,
            "only_asked": only_asked,
            "most": MAX_ATTEMPTS,
        },
    )
    # UPDATE returns its rows in no particular order.
    return sorted(QueuedShard(*row) for row in rows)


def count_open(connection: Connection, run_id: int) -> dict[tuple[str, str], int]:
    """Return how many shards are ready, queued or leased, by (stage, state)."""
    rows = connection.execute(
        text("""
            SELECT stage, state, count(*) FROM shard
            WHERE run_id = :run AND state IN ('ready', 'queued', 'leased') GROUP BY 1, 2
        """),
        {"run": run_id},
    )
    return {(stage, state): n for stage, state, n in rows}


def unfinished(connection: Connection, run_id: int) -> int:
    """Return how many shards are not done."""
    query = "SELECT count(*) FROM shard WHERE run_id = :run AND state <> 'done'"
    return int(connection.execute(text(query), {"run": run_id}).scalar_one())


def leased(connection: Connection, run_id: int) -> int:
    """Return how many shards have a lease that has not run out."""
    query = """
        SELECT count(*) FROM shard
        WHERE run_id = :run AND state = 'leased' AND lease_until > now()
    """
    return int(connection.execute(text(query), {"run": run_id}).scalar_one())
