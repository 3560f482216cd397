"""What the collect stage leaves on its way: parts of layers, and bounds on what still matters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select

from db.bulk import upsert
from db.runs import table
from db.tables import CollectBound, CollectPart

PART_COLUMNS = (
    "run_id",
    "layer",
    "start",
    "n_tokens",
    "sums",
    "maxima",
    "nonfinite",
    "kept_neurons",
    "kept_excerpts",
    "kept_activations",
)


def save_parts(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Store what a shard leaves of each layer, in the order of PART_COLUMNS; replaces its own."""
    upsert(connection, table(CollectPart), PART_COLUMNS, rows, update=True)


def parts(connection: Connection, run_id: int, layer: int) -> Sequence[RowMapping]:
    """Return the parts of a layer in the order of their excerpts."""
    query = (
        select(*CollectPart.__table__.c)
        .where(CollectPart.run_id == run_id, CollectPart.layer == layer)
        .order_by(CollectPart.start)
    )
    return connection.execute(query).mappings().all()


def maxima(connection: Connection, run_id: int, layer: int) -> list[bytes]:
    """Return the maxima of the reference excerpts of a layer, part by part."""
    query = (
        select(CollectPart.maxima)
        .where(CollectPart.run_id == run_id, CollectPart.layer == layer)
        .where(CollectPart.maxima.is_not(None))
        .order_by(CollectPart.start)
    )
    return [found for found in connection.scalars(query) if found is not None]


def drop_parts(connection: Connection, run_id: int, layer: int) -> None:
    """Delete a layer's parts and bounds, once its records are stored."""
    for model in (CollectPart, CollectBound):
        connection.execute(delete(model).where(model.run_id == run_id, model.layer == layer))


def bounds(
    connection: Connection, run_id: int, *, lock: bool = False
) -> Mapping[int, tuple[bytes | None, bytes | None]]:
    """Return (boundaries, top_keys) by layer; with `lock`, nobody else changes them meanwhile."""
    query = (
        select(CollectBound.layer, CollectBound.boundaries, CollectBound.top_keys)
        .where(CollectBound.run_id == run_id)
        .order_by(CollectBound.layer)
    )
    rows = connection.execute(query.with_for_update() if lock else query)
    return {layer: (boundaries, top_keys) for layer, boundaries, top_keys in rows}


def save_bound(connection: Connection, run_id: int, layer: int, column: str, value: bytes) -> None:
    """Store `boundaries` or `top_keys` of a layer."""
    columns = ("run_id", "layer", column)
    upsert(connection, table(CollectBound), columns, [(run_id, layer, value)], update=True)
