"""The one path for bulk writes: COPY BINARY, through a temporary table if rows are stored already.

Measured at 2 to 50 times the speed of the alternatives, and idempotent. The format is PostgreSQL's
("Binary Format" under COPY in its manual): big-endian, a length before every field, -1 for NULL.
"""

import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import psycopg2
from psycopg2.errors import UniqueViolation
from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Connection,
    Double,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

# Bytes that the driver takes at once: between two pieces, another thread may run for a while.
_COPIED_AT_ONCE = 1 << 20
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
KEEP_THE_FIRST = "ON CONFLICT DO NOTHING"
_INT2, _INT4 = struct.Struct("!h"), struct.Struct("!i")
_NULL, _END = _INT4.pack(-1), _INT2.pack(-1)
# Ids in pg_type: the binary form of an array names the type of its elements.
_INT2_OID, _INT4_OID, _FLOAT4_OID = 21, 23, 700

Encoder = Callable[[Any], bytes]


def upsert(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    update: bool = False,
) -> int:
    """Store rows whose primary key is not stored yet; return how many were stored.

    With `update`, rows whose primary key is stored are replaced, and counted as well.
    """
    encoded = encode_rows(table, columns, rows)
    with _cursor(connection) as cursor:
        target = _quoted(connection, table.name, columns)
        # With `update`, rows are expected to be stored already, and copying them straight would
        # fail.
        if not update and (stored := _copy_new(cursor, target, encoded)) is not None:
            return stored
        with _staged(connection, cursor, table, columns, encoded) as insert:
            quote = connection.dialect.identifier_preparer.quote
            conflict = _on_conflict(table, columns, quote) if update else KEEP_THE_FIRST
            cursor.execute(f"{insert} {conflict}")
            return int(cursor.rowcount)


def insert_new(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    returning: str,
) -> list[Any]:
    """Store rows whose primary key is not stored yet; return their values in a column."""
    rows = list(rows)
    encoded = encode_rows(table, columns, rows)
    with _cursor(connection) as cursor:
        if _copy_new(cursor, _quoted(connection, table.name, columns), encoded) is not None:
            return [row[columns.index(returning)] for row in rows]
        with _staged(connection, cursor, table, columns, encoded) as insert:
            quoted = connection.dialect.identifier_preparer.quote(returning)
            cursor.execute(f"{insert} {KEEP_THE_FIRST} RETURNING {quoted}")
            return [value for (value,) in cursor.fetchall()]


def fetch_bytes(
    connection: Connection, query: str, parameters: Sequence[Any]
) -> Iterator[list[memoryview]]:
    """Return the rows of a query with every value as the bytes of its binary format.

    `bytea` values are returned as they are stored, NULL as no bytes. psycopg2's own way reads them
    as hexadecimal digits, which takes three times as long. `parameters` are for `%s` in the query.
    """
    copied = io.BytesIO()
    with _cursor(connection) as cursor:
        # COPY takes no parameters; the driver quotes them into the query.
        plain = cursor.mogrify(query, parameters).decode()
        cursor.copy_expert(f"COPY ({plain}) TO STDOUT (FORMAT binary)", copied)
    return _decoded_rows(copied.getbuffer())


def _decoded_rows(buffer: memoryview) -> Iterator[list[memoryview]]:
    at = len(_SIGNATURE)
    while (n_fields := _INT2.unpack_from(buffer, at)[0]) != -1:
        at += 2
        row = []
        for _ in range(n_fields):
            size = max(0, _INT4.unpack_from(buffer, at)[0])
            at += 4
            row.append(buffer[at : at + size])
            at += size
        yield row


@contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    """Yield a cursor of the driver, whose errors are raised as those of SQLAlchemy."""
    try:
        with closing(connection.connection.cursor()) as cursor:
            yield cursor
    except psycopg2.Error as error:
        # So that `is_away` and other callers need to know one tree of errors only.
        raise _as_sqlalchemy(error) from error


def _as_sqlalchemy(error: psycopg2.Error) -> Exception:
    wrapped: Exception = DBAPIError.instance(None, None, error, psycopg2.Error)
    return wrapped


def _copy_new(cursor: Any, target: tuple[str, str], encoded: io.BytesIO) -> int | None:
    """Copy rows straight into their table; return how many, or None if one of them is stored."""
    # Nearly always all rows are new, and a temporary table would double the work. The savepoint
    # lets the transaction go on where one is not.
    cursor.execute("SAVEPOINT upsert")
    try:
        stored = _copy(cursor, target, encoded)
    except UniqueViolation:
        cursor.execute("ROLLBACK TO SAVEPOINT upsert; RELEASE SAVEPOINT upsert")
        return None
    cursor.execute("RELEASE SAVEPOINT upsert")
    return stored


@contextmanager
def _staged(
    connection: Connection,
    cursor: Any,
    table: Table,
    columns: Sequence[str],
    encoded: io.BytesIO,
) -> Iterator[str]:
    """Copy rows into a temporary table, and yield the statement that inserts them from there."""
    quote = connection.dialect.identifier_preparer.quote
    target, names = _quoted(connection, table.name, columns)
    staging = quote(f"new_{table.name}")
    cursor.execute(
        f"CREATE TEMP TABLE {staging} ON COMMIT DROP AS SELECT {names} FROM {target} LIMIT 0"  # noqa: S608  (names of our own tables)
    )
    for column in columns:
        if isinstance(table.c[column].type, LargeBinary):  # packed numbers: compressing is in vain
            cursor.execute(f"ALTER TABLE {staging} ALTER {quote(column)} SET STORAGE EXTERNAL")
    _copy(cursor, (staging, names), encoded)
    yield f"INSERT INTO {target} ({names}) SELECT {names} FROM {staging}"  # noqa: S608
    cursor.execute(f"DROP TABLE {staging}")


def _quoted(connection: Connection, name: str, columns: Sequence[str]) -> tuple[str, str]:
    quote = connection.dialect.identifier_preparer.quote
    return quote(name), ", ".join(map(quote, columns))


def _copy(cursor: Any, target: tuple[str, str], encoded: io.BytesIO) -> int:
    name, columns = target
    encoded.seek(0)
    statement = f"COPY {name} ({columns}) FROM STDIN (FORMAT binary)"
    cursor.copy_expert(statement, encoded, _COPIED_AT_ONCE)
    return int(cursor.rowcount)


def _on_conflict(table: Table, columns: Sequence[str], quote: Callable[[str], str]) -> str:
    key = [column.name for column in table.primary_key]
    changes = ", ".join(f"{quote(c)} = EXCLUDED.{quote(c)}" for c in columns if c not in key)
    return f"ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {changes}"


def encode_rows(table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> io.BytesIO:
    """Return the rows in the binary format of COPY."""
    encoders = [_encoder(table.c[column].type) for column in columns]
    head = _INT2.pack(len(columns))
    buffer = io.BytesIO()
    buffer.write(_SIGNATURE)
    for row in rows:
        buffer.write(head)
        for encode, value in zip(encoders, row, strict=True):
            buffer.write(_field(encode, value))
    buffer.write(_END)
    return buffer


def _field(encode: Encoder, value: Any) -> bytes:
    if value is None:
        return _NULL
    encoded = encode(value)
    return _INT4.pack(len(encoded)) + encoded


def _encoder(kind: Any) -> Encoder:
    if isinstance(kind, ARRAY):
        return _array_encoder(kind.item_type)
    for types, encode in _SCALARS:
        if isinstance(kind, types):
            return encode
    raise TypeError(f"no binary encoding for column type {kind!r}")


def _array(oid: int, code: str, size: int, values: Sequence[Any]) -> bytes:
    if not len(values):
        return struct.pack("!iii", 0, 0, oid)
    # Every element is a length and a value; interleaved, one `pack` writes all of them.
    sized = [size] * (2 * len(values))
    sized[1::2] = values
    return struct.pack("!iiiii" + f"i{code}" * len(values), 1, 0, oid, len(values), 1, *sized)


def _array_encoder(kind: Any) -> Encoder:
    if isinstance(kind, REAL):
        return partial(_array, _FLOAT4_OID, "f", 4)
    if isinstance(kind, SmallInteger):
        return partial(_array, _INT2_OID, "h", 2)
    return partial(_array, _INT4_OID, "i", 4)


def storable(value: str) -> str:
    """Return a text as Postgres takes it: without NUL, and without halves of surrogate pairs."""
    return _text(value).decode()


def _text(value: str) -> bytes:
    return value.replace("\0", "\ufffd").encode("utf-8", errors="replace")


_SCALARS: tuple[tuple[type[Any] | tuple[type[Any], ...], Encoder], ...] = (
    (SmallInteger, _INT2.pack),
    (BigInteger, struct.Struct("!q").pack),
    (Integer, _INT4.pack),
    (REAL, struct.Struct("!f").pack),
    (Double, struct.Struct("!d").pack),
    (Boolean, struct.Struct("!?").pack),
    (LargeBinary, bytes),
    (Text, _text),
)
