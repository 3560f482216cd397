"""Values of a person's query, which the server cuts before it sends what could fill a process."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

LONGEST_VALUE = 1 << 20
"""Bytes of a value as text, above which its beginning is returned."""

# By their number in pg_type: numbers, times, names and the like, which are never long.
_SHORT = frozenset({
    16, 18, 19, 20, 21, 23, 26, 27, 28, 29, 650, 700, 701, 790, 829, 869, 1082, 1083, 1114, 1184,
    1186, 1266, 2278, 2950, 3220,
})  # fmt: skip
_TEXTS, _BYTES = frozenset({25, 1042, 1043}), 17
# No block comments: they nest, and what seems to follow one may be within it.
_UTILITY = re.compile(r"(?:\s|--[^\r\n]*[\r\n])*(?:explain|show)\b", re.IGNORECASE)
# Without what could end a string: then it is no end, but in one.
_END = re.compile(r"""(?<![\s;])\s*;[\s;]*(?:--[^\r\n'"$/*]*(?:[\r\n]\s*|\Z))*\Z""")


class Column(NamedTuple):
    """What a driver says of a column of a result."""

    name: str
    type_code: Any


class CutText(str):
    """The beginning of a value as text, and that it is one; `n_bytes` has the whole value."""

    n_bytes: int

    @classmethod
    def of(cls, beginning: str, n_bytes: int) -> "CutText":
        text = cls(f"{beginning}… (cut: {n_bytes:,} bytes in all)")
        text.n_bytes = n_bytes
        return text


def is_utility(query: str) -> bool:
    """Return whether a query is EXPLAIN or SHOW, which cannot be part of another one."""
    return _UTILITY.match(query) is not None


def bounded(query: str, columns: Sequence[Column], longest: int) -> str:
    """Return a query for the rows of another one, which `values` turns into its own.

    Of each column that may be long it has two: the value where it is not, and what to tell where it
    is. `OFFSET 0` keeps the server from computing a value for each time that it is named here.
    """
    names = ", ".join(f"c{i}" for i in range(len(columns)))
    found = ", ".join(
        part for i, column in enumerate(columns) for part in _parts(f"c{i}", column, longest)
    )
    inner = _END.sub("", query)
    return f"SELECT {found} FROM (SELECT * FROM (\n{inner}\n) AS q({names}) OFFSET 0) AS q"  # noqa: S608  (one statement, as the reader)


def _parts(name: str, column: Column, longest: int) -> list[str]:
    if column.type_code in _SHORT:
        return [name]
    if column.type_code in _TEXTS:
        size, beginning = f"octet_length({name})", f"left({name}, {longest})"
    elif column.type_code == _BYTES:
        size, beginning = f"octet_length({name})", f"substring({name} for {longest // 2})::text"
    else:
        size, beginning = f"octet_length({name}::text)", f"left({name}::text, {longest})"
    is_long = f"{size} > {longest}"
    return [
        f"CASE WHEN {is_long} THEN NULL ELSE {name} END",
        f"CASE WHEN {is_long} THEN {size} || ' ' || {beginning} END",
    ]


def values(row: Sequence[Any], columns: Sequence[Column]) -> tuple[Any, ...]:
    """Return a row of the query that `bounded` was given."""
    parts = iter(row)
    return tuple(
        next(parts) if column.type_code in _SHORT else _whole_or_cut(next(parts), next(parts))
        for column in columns
    )


def _whole_or_cut(value: Any, cut: str | None) -> Any:
    if cut is None:
        return bytes(value) if isinstance(value, memoryview) else value
    n_bytes, _, beginning = cut.partition(" ")
    return CutText.of(beginning, int(n_bytes))
