"""The ledger of calls: every answer that was paid for."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, RowMapping, func, select, text
from sqlalchemy.exc import IntegrityError

from db import progress
from db.bulk import insert_new, storable
from db.runs import table
from db.tables import CallTable, RepeatedCallTable

CALL_COLUMNS = tuple(c.name for c in CallTable.__table__.columns if c.name != "created_at")
REPEATED_COLUMNS = tuple(
    c.name for c in RepeatedCallTable.__table__.columns if c.name != "created_at"
)


def find(connection: Connection, identities: Sequence[bytes]) -> Sequence[RowMapping]:
    """Return the calls of these identities that were answered, by any run."""
    query = select(*CallTable.__table__.c).where(CallTable.identity == func.any(list(identities)))
    return connection.execute(query).mappings().all()


def save_new(
    connection: Connection,
    run_id: int,
    rows: Sequence[Mapping[str, Any]],
    spend: Sequence[Mapping[str, object]],
) -> bool:
    """Store answers, rows of CALL_COLUMNS, and what they cost, in one statement.

    So a connection that commits by itself stores them in one round trip. Return whether it did: if
    any question has an answer already, nothing is stored. The spend comes last, as in a transaction
    of `save`: who waits here for another's answer must not hold what that one still has to change.
    """
    row = f"({', '.join(['%s'] * len(CALL_COLUMNS))})"
    statement = f"""
        WITH stored AS (INSERT INTO call ({", ".join(CALL_COLUMNS)})
                        VALUES {", ".join([row] * len(rows))} RETURNING 1)
        {progress.add_spend_sql(len(spend), "(SELECT count(*) FROM stored) > 0")}
    """  # noqa: S608  (constants)
    values = (_storable(row[column]) for row in rows for column in CALL_COLUMNS)
    try:
        connection.exec_driver_sql(statement, (*values, *progress.spend_values(run_id, spend)))
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            return False
        raise
    return True


def _storable(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


class Saved(NamedTuple):
    """Identities of answers: those that are stored now, and those that were paid for in vain.

    What was stored before is in neither, as when nobody heard that a commit went through.
    """

    first: set[bytes]
    repeated: set[bytes]


def save(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> Saved:
    """Store answers, rows of CALL_COLUMNS; the first answer to a question stands."""
    values = [[row[column] for column in CALL_COLUMNS] for row in rows]
    new = insert_new(connection, table(CallTable), CALL_COLUMNS, values, "identity")
    first = {bytes(identity) for identity in new}
    others = [row for row in rows if row["identity"] not in first]
    repeated = _save_repeated(connection, others) if others else []
    return Saved(first, {bytes(identity) for identity in repeated})


def _save_repeated(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Store what is another answer to a question than the one that stands."""
    stored = {row["identity"]: row for row in find(connection, [row["identity"] for row in rows])}
    same = ("run_id", "request_id", "attempts", "latency_ms")
    others = [
        [_repeated(row)[column] for column in REPEATED_COLUMNS]
        for row in rows
        if any(stored[row["identity"]][column] != row[column] for column in same)
    ]
    return insert_new(connection, table(RepeatedCallTable), REPEATED_COLUMNS, others, "identity")


def _repeated(row: Mapping[str, Any]) -> dict[str, Any]:
    wasted_usd = row["usd"] + row["wasted_usd"]
    return {**row, "request_id": row["request_id"] or "", "wasted_usd": wasted_usd}


def waste(connection: Connection, identities: Sequence[bytes]) -> Sequence[RowMapping]:
    """Count what these answers cost as wasted, once, and return what changed.

    Each row has run_id, stage, model and usd.
    """
    query = text("""
        WITH before AS (
            SELECT identity, usd FROM call WHERE identity = ANY(:identities) AND usd > 0 FOR UPDATE)
        UPDATE call SET usd = 0, wasted_usd = wasted_usd + before.usd
        FROM before WHERE call.identity = before.identity
        RETURNING run_id, purpose AS stage, model, before.usd
    """)
    return connection.execute(query, {"identities": list(identities)}).mappings().all()
