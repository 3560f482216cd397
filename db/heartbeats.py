"""Heartbeats of worker processes."""

from sqlalchemy import Connection, text

KEPT_S = 86_400.0  # for which a worker that died is listed


def beat(connection: Connection, worker: str, queue: str, host: str, finished: int) -> None:
    """Record that a worker is alive, and has finished `finished` shards since it started."""
    connection.execute(
        text("""
            INSERT INTO worker (worker, queue, host, finished) VALUES (:worker, :queue, :host, :n)
            ON CONFLICT (worker) DO UPDATE SET heartbeat_at = now(), finished = EXCLUDED.finished
        """),
        {"worker": worker, "queue": queue, "host": host, "n": finished},
    )


def leave(connection: Connection, worker: str) -> None:
    """Remove a worker that stops."""
    connection.execute(text("DELETE FROM worker WHERE worker = :worker"), {"worker": worker})


def forget_dead(connection: Connection) -> None:
    """Remove workers that died long ago: nobody waits for them any more, and no shard is theirs."""
    # Every process does this with every heartbeat, and none waits for another one.
    query = text("""
        DELETE FROM worker WHERE worker IN (
            SELECT worker FROM worker WHERE heartbeat_at < now() - :kept * interval '1 second'
            FOR UPDATE SKIP LOCKED)
    """)
    connection.execute(query, {"kept": KEPT_S})


def alive(connection: Connection, queue: str, within_s: float = 60) -> int:
    """Return how many workers of a queue had a heartbeat lately, by the database's clock."""
    query = text("""
        SELECT count(*) FROM worker
        WHERE queue = :queue AND heartbeat_at > now() - :within * interval '1 second'
    """)
    return int(connection.execute(query, {"queue": queue, "within": within_s}).scalar_one())


def heard_lately(connection: Connection, worker: str, within_s: float) -> bool:
    """Return whether a worker had a heartbeat in the last seconds, by the database's clock."""
    query = text("""
        SELECT count(*) FROM worker
        WHERE worker = :worker AND heartbeat_at > now() - :within * interval '1 second'
    """)
    n = connection.execute(query, {"worker": worker, "within": within_s}).scalar_one()
    return int(n) > 0
