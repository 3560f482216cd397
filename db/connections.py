"""Related neurons and tokens by weight."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from db.bulk import upsert
from db.runs import table
from db.tables import RelatedNeuronsTable, RelatedTokensTable

_NEURONS, _TOKENS = table(RelatedNeuronsTable), table(RelatedTokensTable)


def save_related_neurons(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store related neurons in the order of the columns, unless the neuron has some."""
    return upsert(connection, _NEURONS, _NEURONS.columns.keys(), rows)


def save_related_tokens(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store related tokens in the order of the columns, unless the neuron has some."""
    return upsert(connection, _TOKENS, _TOKENS.columns.keys(), rows)


def related_neurons(
    connection: Connection, run_id: int, layer: int, neuron: int
) -> dict[str, RowMapping]:
    """Return a neuron's row of each direction that is stored."""
    return _by_direction(connection, RelatedNeuronsTable, run_id, layer, neuron)


def related_tokens(
    connection: Connection, run_id: int, layer: int, neuron: int
) -> dict[str, RowMapping]:
    """Return a neuron's row of each direction that is stored."""
    return _by_direction(connection, RelatedTokensTable, run_id, layer, neuron)


def _by_direction(
    connection: Connection,
    model: type[RelatedNeuronsTable] | type[RelatedTokensTable],
    run_id: int,
    layer: int,
    neuron: int,
) -> dict[str, RowMapping]:
    query = select(*table(model).c).where(
        model.run_id == run_id, model.layer == layer, model.neuron == neuron
    )
    return {row["direction"]: row for row in connection.execute(query).mappings()}
