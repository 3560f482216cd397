"""Holds on the budget of a run: the part that each process has set aside."""

from typing import NamedTuple

from sqlalchemy import Connection, text

# Of what is left of the budget, how much a process sets aside beyond what it needs now, so that it
# need not ask for every call.
SHARE = 0.05
EXPIRES_S = 180.0  # of a process that died or is frozen: then others may spend what it held


class StoredHold(NamedTuple):
    """The holds of a process and of others, and the spending, in USD; `limit` None: no budget."""

    usd: float
    elsewhere: float
    spent: float
    limit: float | None


def hold(
    connection: Connection, run_id: int, process: str, *, out: float, wanted: float
) -> StoredHold:
    """Replace the hold of a process by `out`, for calls under way, and at least `wanted`.

    If less than `wanted` is left, the hold is `out` alone. All amounts are in USD.
    """
    # The lock on the run makes processes that ask at the same time wait for each other, so that
    # held and spent together never exceed the budget. NO KEY: rows that refer to the run, such as
    # results, are stored without waiting for it.
    query = text("SELECT budget_usd FROM run WHERE id = :run FOR NO KEY UPDATE")
    limit = connection.execute(query, {"run": run_id}).scalar_one()
    if limit is None:
        return StoredHold(0.0, 0.0, 0.0, None)
    row = {"run": run_id, "process": process, "expires": EXPIRES_S}
    spent, elsewhere = connection.execute(_USED, row).one()
    left = limit - spent - elsewhere
    # The part beyond what is wanted shrinks with what is left, so that no process sits on the last
    # of the money while another one needs it.
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


def keep(connection: Connection, run_id: int, process: str) -> bool:
    """Renew the hold of a process; return whether it has one that has not expired."""
    query = text("""
        UPDATE budget_hold SET expires_at = now() + :expires * interval '1 second'
        WHERE run_id = :run AND process = :process AND expires_at > now()
    """)
    values = {"run": run_id, "process": process, "expires": EXPIRES_S}
    return connection.execute(query, values).rowcount == 1


def release(connection: Connection, run_id: int, process: str) -> None:
    """Give back what a process holds."""
    query = text("DELETE FROM budget_hold WHERE run_id = :run AND process = :process")
    connection.execute(query, {"run": run_id, "process": process})
