"""What the collect stage leaves on its way: parts of layers, and bounds on what still matters."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, text

from db.bulk import fetch_bytes, upsert
from db.runs import table
from db.tables import CollectBoundTable, CollectMaximaTable, CollectPartTable

PART_COLUMNS = tuple(column.name for column in CollectPartTable.__table__.columns)
BOUND_COLUMNS = tuple(column.name for column in CollectBoundTable.__table__.columns)


def save_part(connection: Connection, part: Sequence[Any]) -> None:
    """Store a part of a layer, in the order of PART_COLUMNS."""
    upsert(connection, table(CollectPartTable), PART_COLUMNS, [part])


def lock_layer(connection: Connection, run_id: int, layer: int, *, wait: bool) -> bool:
    """Take the sole right to merge or drop the parts of a layer, until the transaction ends.

    Return whether it was free; with `wait`, wait until it is. New parts may still be stored.
    """
    name = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    found = connection.scalar(select(getattr(func, name)(run_id, layer)))
    return wait or bool(found)


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a layer as it is stored: see `db.tables.CollectPartTable`."""

    kept_columns: memoryview
    kept_excerpts: memoryview
    kept_activations: memoryview
    blocks: memoryview
    moments: memoryview
    nonfinite: memoryview


def part_sizes(connection: Connection, run_id: int, layer: int) -> Sequence[Row[int, int]]:
    """Return (start, how many records it keeps) of a layer's parts, in order."""
    query = text("""
        SELECT start, octet_length(kept_columns) / 4 FROM collect_part
        WHERE run_id = :run AND layer = :layer ORDER BY start
    """)
    return connection.execute(query, {"run": run_id, "layer": layer}).all()


def part(connection: Connection, run_id: int, layer: int, start: int) -> StoredPart:
    """Return one part of a layer."""
    names = ", ".join(field.name for field in fields(StoredPart))
    query = f"""
        SELECT {names} FROM collect_part WHERE run_id = %s AND layer = %s AND start = %s
    """  # noqa: S608  (names of our own columns)
    (row,) = fetch_bytes(connection, query, (run_id, layer, start))
    return StoredPart(*row)


def drop_parts(connection: Connection, run_id: int, layer: int, starts: Sequence[int]) -> None:
    """Delete some parts of a layer."""
    connection.execute(
        delete(CollectPartTable).where(
            CollectPartTable.run_id == run_id,
            CollectPartTable.layer == layer,
            CollectPartTable.start == func.any(list(starts)),
        )
    )


def n_kept(connection: Connection, run_id: int) -> Sequence[Row[int, int]]:
    """Return (layer, how many records all its parts keep), of layers with more than one part."""
    query = text("""
        SELECT layer, sum(octet_length(kept_columns)) / 4 FROM collect_part
        WHERE run_id = :run GROUP BY layer HAVING count(*) > 1 ORDER BY layer
    """)
    return connection.execute(query, {"run": run_id}).all()


def save_maxima(connection: Connection, run_id: int, layer: int, start: int, maxima: bytes) -> None:
    """Store the maxima of a shard of reference excerpts."""
    columns = ("run_id", "layer", "start", "maxima")
    upsert(connection, table(CollectMaximaTable), columns, [(run_id, layer, start, maxima)])


def maxima(connection: Connection, run_id: int, layer: int) -> list[bytes]:
    """Return the maxima of the reference excerpts of a layer, shard by shard."""
    query = (
        select(CollectMaximaTable.maxima)
        .where(CollectMaximaTable.run_id == run_id, CollectMaximaTable.layer == layer)
        .order_by(CollectMaximaTable.start)
    )
    return list(connection.scalars(query))


def bounds(connection: Connection, run_id: int, layer: int) -> tuple[bytes, bytes] | None:
    """Return what is known of a layer, (boundaries, bars), once it is."""
    query = select(CollectBoundTable.boundaries, CollectBoundTable.bars).where(
        CollectBoundTable.run_id == run_id, CollectBoundTable.layer == layer
    )
    found = connection.execute(query).first()
    return None if found is None else (found[0], found[1])


def save_bound(
    connection: Connection, run_id: int, layer: int, boundaries: bytes, bars: bytes
) -> None:
    """Store what is known of a layer, in place of what was known before."""
    row = (run_id, layer, boundaries, bars)
    upsert(connection, table(CollectBoundTable), BOUND_COLUMNS, [row], update=True)


def drop_maxima(connection: Connection, run_id: int, layer: int) -> None:
    """Delete a layer's maxima, once its boundaries are measured."""
    statement = delete(CollectMaximaTable)
    statement = statement.where(
        CollectMaximaTable.run_id == run_id, CollectMaximaTable.layer == layer
    )
    connection.execute(statement)


def drop_layer(connection: Connection, run_id: int, layer: int) -> None:
    """Delete a layer's parts and bounds, once its records are stored."""
    for model in (CollectPartTable, CollectBoundTable):
        connection.execute(delete(model).where(model.run_id == run_id, model.layer == layer))
