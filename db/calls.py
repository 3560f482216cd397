"""The ledger of calls: every answer that was paid for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, NamedTuple

from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import IntegrityError

from db import call_minutes, progress
from db.bulk import insert_new, storable
from db.call_minutes import CallCount
from db.progress import Spend
from db.tables.calls import call_table, repeated_call_table


@dataclass(frozen=True, slots=True)
class StoredCall:
    """An answer that was paid for; see `db.tables.calls.CallColumns`."""

    identity: bytes
    run_id: int
    purpose: str
    endpoint: str
    model: str
    text: str
    finish_reason: str | None
    refusal: str | None
    distributions: bytes | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    usd: float
    wasted_usd: float
    attempts: int
    latency_ms: int
    request_id: str | None


CALL_COLUMNS = tuple(field.name for field in fields(StoredCall))
REPEATED_COLUMNS = tuple(c.name for c in repeated_call_table.columns if c.name != "created_at")
_values = attrgetter(*CALL_COLUMNS)  # `astuple` would copy every text
# What tells two answers to one call apart. The same answer may be stored twice, where the word of
# its commit was lost.
_of_attempt = attrgetter("run_id", "request_id", "attempts", "latency_ms")


def find(connection: Connection, identities: Sequence[bytes]) -> list[StoredCall]:
    """Return the calls of these identities that were answered, by any run."""
    columns = (call_table.c[name] for name in CALL_COLUMNS)
    query = select(*columns).where(call_table.c.identity == func.any(list(identities)))
    return [StoredCall(*row) for row in connection.execute(query)]


def save_new(
    connection: Connection,
    run_id: int,
    rows: Sequence[StoredCall],
    spend: Sequence[Spend],
    counts: Sequence[CallCount],
) -> bool:
    """Store answers, what they cost, and their counts by the minute, in one statement.

    So a connection that commits by itself stores them in one round trip. Return whether it did: if
    any call has an answer already, nothing is stored. Sums come last, as in a transaction of
    `save`: a transaction that waits here for another one's answer must not hold rows that the other
    one still has to change.
    """
    row = f"({', '.join(['%s'] * len(CALL_COLUMNS))})"
    statement = f"""
        WITH stored AS (INSERT INTO call ({", ".join(CALL_COLUMNS)})
                        VALUES {", ".join([row] * len(rows))} RETURNING 1),
             spent AS ({progress.add_spend_sql(len(spend), _some("stored"))} RETURNING 1)
        {call_minutes.add_sql(len(counts), _some("spent"))}
    """  # noqa: S608  (constants)
    values = (_storable(value) for call in rows for value in _values(call))
    sums = (*progress.spend_values(run_id, spend), *call_minutes.add_values(run_id, counts))
    try:
        connection.exec_driver_sql(statement, (*values, *sums))
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            return False
        raise
    return True


def _some(rows: str) -> str:
    """Return the condition that makes a part of a statement wait for another one's rows."""
    return f"(SELECT count(*) FROM {rows}) > 0"  # noqa: S608  (a constant)


def _storable(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


class Saved(NamedTuple):
    """Identities of answers: those that are stored now, and those that were paid for in vain.

    An answer that was stored before is in neither, as when the word of its commit was lost.
    """

    first: set[bytes]
    repeated: set[bytes]


def save(connection: Connection, rows: Sequence[StoredCall]) -> Saved:
    """Store answers; the first answer to a call stands."""
    values = map(_values, rows)
    new = insert_new(connection, call_table, CALL_COLUMNS, values, "identity")
    first = {bytes(identity) for identity in new}
    others = [row for row in rows if row.identity not in first]
    repeated = _save_repeated(connection, others) if others else []
    return Saved(first, {bytes(identity) for identity in repeated})


def _save_repeated(connection: Connection, rows: Sequence[StoredCall]) -> list[bytes]:
    """Store those that are another answer to their call than the one that stands."""
    stored = {call.identity: call for call in find(connection, [row.identity for row in rows])}
    others = [
        [_repeated_value(row, column) for column in REPEATED_COLUMNS]
        for row in rows
        if _of_attempt(stored[row.identity]) != _of_attempt(row)
    ]
    return insert_new(connection, repeated_call_table, REPEATED_COLUMNS, others, "identity")


def _repeated_value(call: StoredCall, column: str) -> Any:
    if column == "wasted_usd":
        return call.usd + call.wasted_usd
    value = getattr(call, column)
    # Part of the primary key there, which takes no NULL.
    return (value or "") if column == "request_id" else value


class RevaluedCall(NamedTuple):
    """An answer whose cost, in USD, was counted as wasted just now, or as not wasted."""

    run_id: int
    stage: str
    model: str
    usd: float


def waste(connection: Connection, identities: Sequence[bytes]) -> list[RevaluedCall]:
    """Count what these answers cost as wasted, once, and return those that changed."""
    # RETURNING has the new values, and the sums need the old one. The lock lets only one of two
    # callers count it.
    query = text("""
        WITH before AS (
            SELECT identity, usd FROM call WHERE identity = ANY(:identities) AND usd > 0 FOR UPDATE)
        UPDATE call SET usd = 0, wasted_usd = wasted_usd + before.usd
        FROM before WHERE call.identity = before.identity
        RETURNING run_id, purpose AS stage, model, before.usd
    """)
    return [
        RevaluedCall(*row) for row in connection.execute(query, {"identities": list(identities)})
    ]


def keep(connection: Connection, usd: Mapping[bytes, float]) -> list[RevaluedCall]:
    """Count what these answers cost as not wasted, once, and return those that changed.

    `usd` is what each cost by itself: the attempts before it stay wasted.
    """
    query = text("""
        UPDATE call SET usd = least(:usd, wasted_usd), wasted_usd = greatest(0, wasted_usd - :usd)
        WHERE identity = :identity AND usd = 0 AND wasted_usd > 0
        RETURNING run_id, purpose AS stage, model, usd
    """)
    rows = [
        connection.execute(query, {"identity": identity, "usd": usd[identity]}).one_or_none()
        # In one order: two processes that keep the same answers cannot deadlock.
        for identity in sorted(usd)
    ]
    return [RevaluedCall(*row) for row in rows if row is not None]
