"""The one bulk-write path: COPY BINARY into a temporary table, then INSERT .. ON CONFLICT.

Measured at 2 to 50 times the speed of the alternatives, and idempotent. The format is PostgreSQL's
("Binary Format" under COPY in its manual): big-endian, a length before every field, -1 for NULL.
"""

import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain
from typing import Any

import psycopg2
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

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
KEEP_THE_FIRST = "ON CONFLICT DO NOTHING"
_NULL = struct.pack("!i", -1)
_END = struct.pack("!h", -1)
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
    """Store rows that are not there yet, and return how many were stored.

    With `update`, rows whose primary key is there already are replaced, and counted too.
    """
    with _merging(connection, table, columns, rows, update=update) as cursor:
        return int(cursor.rowcount)


def insert_new(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    returning: str,
) -> list[Any]:
    """Store rows that are not there yet, and return the values that these have in a column."""
    with _merging(connection, table, columns, rows, returning=returning) as cursor:
        return [value for (value,) in cursor]


@contextmanager
def _merging(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    update: bool = False,
    returning: str | None = None,
) -> Iterator[Any]:
    """Yield the cursor of the statement that stores the rows."""
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(column) for column in columns)
    target, staging = quote(table.name), quote(f"new_{table.name}")
    with _sqlalchemy_errors(), closing(connection.connection.cursor()) as cursor:
        cursor.execute(
            f"CREATE TEMP TABLE {staging} ON COMMIT DROP AS SELECT {names} FROM {target} LIMIT 0"  # noqa: S608  (names of our own tables)
        )
        for column in columns:  # packed numbers: compressing is in vain
            if isinstance(table.c[column].type, LargeBinary):
                cursor.execute(f"ALTER TABLE {staging} ALTER {quote(column)} SET STORAGE EXTERNAL")
        cursor.copy_expert(
            f"COPY {staging} ({names}) FROM STDIN (FORMAT binary)",
            encode_rows(table, columns, rows),
        )
        conflict = _on_conflict(table, columns, quote) if update else KEEP_THE_FIRST
        cursor.execute(
            f"INSERT INTO {target} ({names}) SELECT {names} FROM {staging} {conflict}"  # noqa: S608
            + (f" RETURNING {quote(returning)}" if returning else "")
        )
        yield cursor
        cursor.execute(f"DROP TABLE {staging}")


@contextmanager
def _sqlalchemy_errors() -> Iterator[None]:
    """Raise what callers know: the driver's own cursor raises the driver's own errors."""
    try:
        yield
    except psycopg2.Error as error:
        raise DBAPIError.instance(None, None, error, psycopg2.Error) from error


def _on_conflict(table: Table, columns: Sequence[str], quote: Callable[[str], str]) -> str:
    key = [column.name for column in table.primary_key]
    changes = ", ".join(f"{quote(c)} = EXCLUDED.{quote(c)}" for c in columns if c not in key)
    return f"ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {changes}"


def encode_rows(table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> io.BytesIO:
    """Return the rows in the binary format of COPY, at its start."""
    encoders = [_encoder(table.c[column].type) for column in columns]
    head = struct.pack("!h", len(columns))
    buffer = io.BytesIO()
    buffer.write(_SIGNATURE)
    for row in rows:
        buffer.write(head)
        for encode, value in zip(encoders, row, strict=True):
            buffer.write(_field(encode, value))
    buffer.write(_END)
    buffer.seek(0)
    return buffer


def _field(encode: Encoder, value: Any) -> bytes:
    if value is None:
        return _NULL
    encoded = encode(value)
    return struct.pack("!i", len(encoded)) + encoded


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
    head = struct.pack("!iiiii", 1, 0, oid, len(values), 1)
    sized = chain.from_iterable((size, value) for value in values)
    return head + struct.pack("!" + f"i{code}" * len(values), *sized)


def _array_encoder(kind: Any) -> Encoder:
    if isinstance(kind, REAL):
        return partial(_array, _FLOAT4_OID, "f", 4)
    if isinstance(kind, SmallInteger):
        return partial(_array, _INT2_OID, "h", 2)
    return partial(_array, _INT4_OID, "i", 4)


def _text(value: str) -> bytes:
    return value.replace("\0", "\ufffd").encode("utf-8", errors="replace")  # Postgres takes no NUL


_SCALARS: tuple[tuple[type[Any] | tuple[type[Any], ...], Encoder], ...] = (
    (SmallInteger, struct.Struct("!h").pack),
    (BigInteger, struct.Struct("!q").pack),
    (Integer, struct.Struct("!i").pack),
    (REAL, struct.Struct("!f").pack),
    (Double, struct.Struct("!d").pack),
    (Boolean, struct.Struct("!?").pack),
    (LargeBinary, bytes),
    (Text, _text),
)
