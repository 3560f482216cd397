"""One query of a person, which can change nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from db import bounded_values
from db.bounded_values import LONGEST_VALUE, Column, bounded, is_utility
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
_OPEN_IF_SHORT = """
DO $$
DECLARE reading refcursor := 'reading'; line record; longest int := {longest};
BEGIN
    FOR line IN EXECUTE current_setting('neurogloss.query') LOOP
        IF octet_length(line::text) > longest THEN
            RAISE USING MESSAGE = 'a line of it has more than ' || longest || ' bytes';
        END IF;
    END LOOP;
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


def read_only_rows(
    engine: Engine, query: str, limit: int | None = None, longest: int = LONGEST_VALUE
) -> Rows:
    """Return the first `limit` rows of one query, as the reader where that role is set up.

    A value of more than `longest` bytes is cut, by the server: it becomes a `CutText`.

    Raises:
        InputError: The query is wrong, would change something, is not a single one, takes longer
            than the engine's patience, or returns what has no value here.
        DBAPIError: The database is away.
    """
    try:
        with engine.connect() as connection:
            connection.detach()  # settings and locks of the query's session are nobody else's
            _become_reader(connection)
            if is_utility(query):
                rows = _lines(connection, query, limit, longest)
            else:
                rows = _rows(connection, query, limit, longest)
            return Rows(
                rows.columns, rows.rows[:limit], limit is not None and len(rows.rows) > limit
            )
    except DBAPIError as error:
        if is_away(error):
            raise
        raise InputError(f"the query failed: {_reason(error)}") from error
    except (ValueError, OverflowError) as error:  # a NUL in the query, a date after the year 9999
        raise InputError(f"the query failed: {error}") from error


def _become_reader(connection: Connection) -> None:
    limit_patience(connection)
    # Not to be undone later: the server allows it only before the first query.
    connection.execute(text("SET TRANSACTION READ ONLY"))
    if connection.scalar(_MAY_BE_READER, {"reader": READER}):
        connection.execute(text(f"SET LOCAL ROLE {READER}"))


def _rows(connection: Connection, query: str, limit: int | None, longest: int) -> Rows:
    """Return rows of a query, within a second one that cuts their values."""
    columns = _columns(connection, query)
    if columns:
        _open(connection, bounded(query, columns, longest))
    result = connection.exec_driver_sql(f"FETCH {_wanted(limit)} FROM reading")
    found = [bounded_values.values(row, columns) for row in result]
    return Rows([column.name for column in columns], found)


def _columns(connection: Connection, query: str) -> Sequence[Column]:
    """Return what columns a query has, and run nothing of it; keep the cursor if it has none."""
    _open(connection, query)
    result = connection.exec_driver_sql("FETCH FORWARD 0 FROM reading")
    columns = [Column(name, code) for name, code, *_ in result.cursor.description or ()]
    if columns:
        connection.exec_driver_sql("CLOSE reading")
    return columns


def _lines(connection: Connection, query: str, limit: int | None, longest: int) -> Rows:
    """Return what EXPLAIN or SHOW says, unless a line of it is too long."""
    connection.execute(_SET_QUERY, {"query": query})
    connection.exec_driver_sql(_OPEN_IF_SHORT.format(longest=longest))
    limit_patience(connection)  # again: what was explained may have run, and changed it
    result = connection.exec_driver_sql(f"FETCH {_wanted(limit)} FROM reading")
    return Rows(list(result.keys()), [tuple(row) for row in result])


def _wanted(limit: int | None) -> str:
    # All at once: a query may change its time-out for statements that follow.
    return "ALL" if limit is None else f"FORWARD {limit + 1}"


def _open(connection: Connection, query: str) -> None:
    connection.execute(_SET_QUERY, {"query": query})
    connection.exec_driver_sql(_OPEN)


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
