"""One query of a person, which can change nothing."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from db.roles import READER
from db.session import is_away, is_too_long, limit_patience
from neurogloss.errors import InputError

# The role is the whole server's; the tables of this database may not be open to it.
_MAY_BE_READER = text("""
    SELECT coalesce(bool_and(pg_has_role(rolname, 'MEMBER')
                             AND has_table_privilege(rolname, to_regclass('run'), 'SELECT')), false)
    FROM pg_roles WHERE rolname = :reader HAVING count(*) = 1
""")
_IS_SUPERUSER = text("SELECT rolsuper FROM pg_roles WHERE rolname = session_user")
# The driver sends text that the server may split into several statements; one of them could end
# the transaction and begin another that writes. A cursor takes a single statement, which returns
# rows, and the query reaches it as a value.
_SET_QUERY = text("SELECT set_config('neurogloss.query', :query, true)")
_OPEN = """
DO $$
DECLARE reading refcursor := 'reading';
BEGIN
    OPEN reading NO SCROLL FOR EXECUTE current_setting('neurogloss.query');
END
$$
"""
_NOT_A_CURSOR = "42P11"  # invalid_cursor_definition


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query returned; `is_cut` says that there are more rows than were asked for."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    is_cut: bool = False


def is_superuser(engine: Engine) -> bool:
    """Return whether the user of an engine may do everything.

    To such a user the role of the reader is no fence: a query can leave it.
    """
    with engine.connect() as connection:
        return bool(connection.scalar(_IS_SUPERUSER))


def read_only_rows(engine: Engine, query: str, limit: int | None = None) -> Rows:
    """Return the first `limit` rows of one query, as the reader where that role is set up.

    Raises:
        InputError: The query is wrong, would change something, is not a single one, takes longer
            than the engine's patience, or returns what has no value here.
        DBAPIError: The database is away.
    """
    try:
        with engine.connect() as connection:
            connection.detach()  # settings and locks of the query's session are nobody else's
            _open(connection, query)
            # In one statement: a query may change its time-out for those that follow.
            wanted = "ALL" if limit is None else f"FORWARD {limit + 1}"
            result = connection.exec_driver_sql(f"FETCH {wanted} FROM reading")
            rows = [tuple(map(_copied, row)) for row in result]
            return Rows(list(result.keys()), rows[:limit], limit is not None and len(rows) > limit)
    except DBAPIError as error:
        if is_away(error):
            raise
        raise InputError(f"the query failed: {_reason(error)}") from error
    except (ValueError, OverflowError) as error:  # a NUL in the query, a date after the year 9999
        raise InputError(f"the query failed: {error}") from error


def _open(connection: Connection, query: str) -> None:
    limit_patience(connection)
    # Not to be undone later: the server allows it only before the first query.
    connection.execute(text("SET TRANSACTION READ ONLY"))
    if connection.scalar(_MAY_BE_READER, {"reader": READER}):
        connection.execute(text(f"SET LOCAL ROLE {READER}"))
    connection.execute(_SET_QUERY, {"query": query})
    connection.exec_driver_sql(_OPEN)


def _copied(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def _reason(error: DBAPIError) -> str:
    """Return what the server says of the query, without how it was run."""
    if is_too_long(error):
        return "it took too long. Ask for less, or use `neurogloss sql`"
    diagnosis = getattr(error.orig, "diag", None)
    message = getattr(diagnosis, "message_primary", None)
    if message is None:
        return str(error.orig).strip()
    if getattr(error.orig, "pgcode", None) == _NOT_A_CURSOR:
        return f"it must be a single, read-only statement ({message})"
    position = getattr(diagnosis, "internal_position", None)
    hint = getattr(diagnosis, "message_hint", None)
    place = f", at character {position}" if position else ""
    return f"{message}{place}" + (f". {hint}" if hint else "")


def shown(value: Any) -> str:
    """Return a value as text; bytes as psql shows them."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return rf"\x{value.hex()}"
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return str(value)
