"""The ledger of calls: every answer that was paid for."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select, text

from db.bulk import insert_new
from db.runs import table
from db.tables import CallRecord

CALL_COLUMNS = tuple(c.name for c in CallRecord.__table__.columns if c.name != "created_at")


def find(connection: Connection, identities: Sequence[bytes]) -> Sequence[RowMapping]:
    """Return the calls of these identities that were answered, by any run."""
    query = select(*CallRecord.__table__.c).where(CallRecord.identity == func.any(list(identities)))
    return connection.execute(query).mappings().all()


def save(connection: Connection, rows: Iterable[Sequence[Any]]) -> set[bytes]:
    """Store answers in the order of CALL_COLUMNS; the first answer to a question stands.

    Return the identities of those that were stored.
    """
    found = insert_new(connection, table(CallRecord), CALL_COLUMNS, rows, "identity")
    return {bytes(identity) for identity in found}


def paid_again(connection: Connection, identity: bytes, usd: float) -> RowMapping:
    """Count what a second answer to a question cost as wasted. Return run_id, stage and model."""
    query = text("""
        UPDATE call SET wasted_usd = wasted_usd + :usd WHERE identity = :identity
        RETURNING run_id, purpose AS stage, model
    """)
    found = connection.execute(query, {"identity": identity, "usd": usd})
    return found.mappings().one()


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
