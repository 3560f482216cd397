"""What a run may spend, shared out among the processes that spend it."""

from typing import NamedTuple

from sqlalchemy import Connection, text

SHARE = 0.05  # of what is left: what one process takes at once, beyond what it needs
EXPIRES_S = 60.0  # a process that is gone holds its part so long


class StoredHold(NamedTuple):
    """What a process holds after asking, and what the others do. `limit` None is no budget."""

    usd: float
    elsewhere: float
    spent: float
    limit: float | None


def hold(
    connection: Connection, run_id: int, process: str, *, out: float, wanted: float
) -> StoredHold:
    """Set aside `out` and at least `wanted` of a run's budget for a process, in place of before.

    Where `wanted` is more than is left, `out` alone is set aside. Processes that ask at once wait
    for each other, so that what is held and spent is never more than the budget.
    """
    query = text("SELECT budget_usd FROM run WHERE id = :run FOR NO KEY UPDATE")
    limit = connection.execute(query, {"run": run_id}).scalar_one()
    if limit is None:
        return StoredHold(0.0, 0.0, 0.0, None)
    row = {"run": run_id, "process": process, "expires": EXPIRES_S}
    spent, elsewhere = connection.execute(_USED, row).one()
    left = limit - spent - elsewhere
    usd = out + wanted + max(0.0, SHARE * (left - out - wanted)) if out + wanted <= left else out
    connection.execute(_HOLD, row | {"usd": usd})
    return StoredHold(usd, elsewhere, spent, limit)


# One statement, one snapshot: an answer that is stored meanwhile is either held or spent in it.
_USED = text("""
    SELECT (SELECT coalesce(sum(usd + wasted_usd), 0) FROM spend WHERE run_id = :run),
           (SELECT coalesce(sum(usd), 0) FROM budget_hold
            WHERE run_id = :run AND process <> :process AND expires_at > now())
""")

_HOLD = text("""
    INSERT INTO budget_hold VALUES (:run, :process, :usd, now() + :expires * interval '1 second')
    ON CONFLICT (run_id, process) DO UPDATE SET
        usd = EXCLUDED.usd, expires_at = EXCLUDED.expires_at
""")


def keep(connection: Connection, run_id: int, process: str) -> None:
    """Say that what a process holds is still needed."""
    query = text("""
        UPDATE budget_hold SET expires_at = now() + :expires * interval '1 second'
        WHERE run_id = :run AND process = :process
    """)
    connection.execute(query, {"run": run_id, "process": process, "expires": EXPIRES_S})


def release(connection: Connection, run_id: int, process: str) -> None:
    """Give back what a process holds."""
    query = text("DELETE FROM budget_hold WHERE run_id = :run AND process = :process")
    connection.execute(query, {"run": run_id, "process": process})
