"""The interim results of stage collect: parts, maxima and bounds of layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, delete, func, select, text

from db.bulk import fetch_bytes, upsert
from db.codec import FLOAT16, FLOAT32, INT32, PackedArray
from db.tables.collection import collect_bound_table, collect_maxima_table, collect_part_table
from neurogloss.neurons.records import FloatArray, IntArray

_ARRAYS = {
    "kept_columns": INT32,
    "kept_excerpts": INT32,
    "kept_activations": FLOAT16,
    "blocks": PackedArray(np.int32, width=3),
    "moments": PackedArray(np.float64),
    "nonfinite": PackedArray(np.bool_),
}
_INT64 = PackedArray(np.int64)


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a layer: see `CollectPartColumns`.

    Attributes:
        kept_columns: int32 (n_kept,).
        kept_excerpts: int32 (n_kept,).
        kept_activations: float16 (n_kept * excerpt_tokens,).
        blocks: int32 (n_blocks, 3).
        moments: float64 (n_blocks * 4 * n_neurons,).
        nonfinite: bool (n_neurons,).
    """

    kept_columns: IntArray
    kept_excerpts: IntArray
    kept_activations: FloatArray
    blocks: IntArray
    moments: FloatArray
    nonfinite: NDArray[np.bool_]


def save_part(
    connection: Connection, run_id: int, layer: int, start: int, part: StoredPart
) -> None:
    """Store a part of a layer under its first excerpt."""
    packed = [array.pack(getattr(part, name)) for name, array in _ARRAYS.items()]
    columns = ("run_id", "layer", "start", *_ARRAYS)
    upsert(connection, collect_part_table, columns, [(run_id, layer, start, *packed)])


def lock_layer(connection: Connection, run_id: int, layer: int, *, wait: bool) -> bool:
    """Lock a layer against merging or dropping its parts, until the transaction ends.

    Return whether the lock was acquired; with `wait`, wait for it. New parts may still be stored.
    """
    # A lock of the transaction, which no pooler can leave with another client; see `db.run_locks`.
    name = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    is_acquired = connection.scalar(select(getattr(func, name)(run_id, layer)))
    return wait or bool(is_acquired)


def part_sizes(connection: Connection, run_id: int, layer: int) -> Sequence[Row[int, int]]:
    """Return (start, how many records it keeps) of a layer's parts, in order."""
    query = text("""
        SELECT start, octet_length(kept_columns) / 4 FROM collect_part
        WHERE run_id = :run AND layer = :layer ORDER BY start
    """)
    return connection.execute(query, {"run": run_id, "layer": layer}).all()


def part(connection: Connection, run_id: int, layer: int, start: int) -> StoredPart:
    """Return one part of a layer."""
    query = f"""
        SELECT {", ".join(_ARRAYS)} FROM collect_part
        WHERE run_id = %s AND layer = %s AND start = %s
    """  # noqa: S608  (names of our own columns)
    # As bytes, since psycopg2's own way takes three times as long.
    (row,) = fetch_bytes(connection, query, (run_id, layer, start))
    arrays = (array.unpack(stored) for array, stored in zip(_ARRAYS.values(), row, strict=True))
    return StoredPart(*arrays)


def drop_parts(connection: Connection, run_id: int, layer: int, starts: Sequence[int]) -> None:
    """Delete some parts of a layer."""
    connection.execute(
        delete(collect_part_table).where(
            collect_part_table.c.run_id == run_id,
            collect_part_table.c.layer == layer,
            collect_part_table.c.start == func.any(list(starts)),
        )
    )


def n_kept(connection: Connection, run_id: int) -> Sequence[Row[int, int]]:
    """Return (layer, how many records all its parts keep), of layers with more than one part."""
    # A layer with one part has just been merged, or begun.
    query = text("""
        SELECT layer, sum(octet_length(kept_columns)) / 4 FROM collect_part
        WHERE run_id = :run GROUP BY layer HAVING count(*) > 1 ORDER BY layer
    """)
    return connection.execute(query, {"run": run_id}).all()


def save_maxima(
    connection: Connection, run_id: int, layer: int, start: int, maxima: FloatArray
) -> None:
    """Store the maxima of a shard of reference excerpts, float16 (n_excerpts, n_neurons)."""
    columns = ("run_id", "layer", "start", "maxima")
    row = (run_id, layer, start, FLOAT16.pack(maxima))
    upsert(connection, collect_maxima_table, columns, [row])


def maxima(connection: Connection, run_id: int, layer: int, n_neurons: int) -> FloatArray:
    """Return the maxima of a layer's reference excerpts, float16 (n_excerpts, n_neurons)."""
    query = (
        select(collect_maxima_table.c.maxima)
        .where(collect_maxima_table.c.run_id == run_id, collect_maxima_table.c.layer == layer)
        .order_by(collect_maxima_table.c.start)
    )
    stored = b"".join(connection.scalars(query))
    return FLOAT16.unpack(stored).reshape(-1, n_neurons)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a layer while it is read; see `CollectBoundColumns`.

    `boundaries` is float32 (n_neurons, n_quantiles), `bars` int64 (n_kinds, n_neurons). Both are
    copies, as torch takes writable arrays only.
    """

    boundaries: FloatArray
    bars: IntArray


def bounds(connection: Connection, run_id: int, layer: int, n_neurons: int) -> Bounds | None:
    """Return the bounds of a layer; None before they are known."""
    query = select(collect_bound_table.c.boundaries, collect_bound_table.c.bars).where(
        collect_bound_table.c.run_id == run_id, collect_bound_table.c.layer == layer
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    boundaries, bars = FLOAT32.unpack(row.boundaries), _INT64.unpack(row.bars)
    return Bounds(boundaries.reshape(n_neurons, -1).copy(), bars.reshape(-1, n_neurons).copy())


def save_bounds(connection: Connection, run_id: int, layer: int, bounds: Bounds) -> None:
    """Store the bounds of a layer in place of earlier ones."""
    columns = ("run_id", "layer", "boundaries", "bars")
    row = (run_id, layer, FLOAT32.pack(bounds.boundaries), _INT64.pack(bounds.bars))
    upsert(connection, collect_bound_table, columns, [row], update=True)


def drop_maxima(connection: Connection, run_id: int, layer: int) -> None:
    """Delete a layer's maxima, once its boundaries are measured."""
    statement = delete(collect_maxima_table)
    statement = statement.where(
        collect_maxima_table.c.run_id == run_id, collect_maxima_table.c.layer == layer
    )
    connection.execute(statement)


def drop_layer(connection: Connection, run_id: int, layer: int) -> None:
    """Delete a layer's parts and bounds, once its records are stored."""
    for table in (collect_part_table, collect_bound_table):
        of_layer = (table.c.run_id == run_id, table.c.layer == layer)
        connection.execute(delete(table).where(*of_layer))
