"""Typed rows of tables about neurons: frozen dataclasses, whose stored bytes are arrays.

A row class names columns of its table; columns that it leaves out are filled in by the database.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Row, Table, select

from db.bulk import upsert
from db.codec import PackedArray


class NeuronRow(Protocol):
    """A row that belongs to a neuron of a run."""

    @property
    def run_id(self) -> int: ...
    @property
    def layer(self) -> int: ...
    @property
    def neuron(self) -> int: ...


R = TypeVar("R", bound=NeuronRow)


class CorruptRowError(ValueError):
    """Stored bytes that are not the array that their column holds."""

    def __init__(self, table: str, column: str, layer: int, neuron: int, n_bytes: int) -> None:
        super().__init__(table, column, layer, neuron, n_bytes)
        self.table, self.column, self.layer, self.neuron = table, column, layer, neuron
        self.n_bytes = n_bytes

    def __str__(self) -> str:
        return (
            f"{self.table}.{self.column} of layer {self.layer} neuron {self.neuron} has "
            f"{self.n_bytes} bytes, which are not whole numbers"
        )


class NeuronRows(Generic[R]):
    """A table with rows of neurons, read and written as rows of one class.

    Args:
        table: The declared table, whose key has run, layer and neuron.
        row: A frozen dataclass whose fields are columns of the table.
        packed: How the columns that hold arrays do so.
    """

    def __init__(
        self, table: Table, row: type[R], packed: Mapping[str, PackedArray] | None = None
    ) -> None:
        self.table = table
        self.columns = tuple(field.name for field in fields(row))  # type: ignore[arg-type]
        self._row: Callable[..., R] = row
        self._packed = packed or {}
        self._places = [(self.columns.index(name), array) for name, array in self._packed.items()]
        # One call reads all columns of a row: hundreds of thousands of rows are stored at a time.
        self._values = attrgetter(*self.columns)

    def save(self, connection: Connection, rows: Iterable[R]) -> int:
        """Store rows whose key is not there yet; return how many were stored."""
        return upsert(connection, self.table, self.columns, map(self._encoded, rows))

    def load(
        self, connection: Connection, run_id: int, layer: int, start: int, stop: int
    ) -> list[R]:
        """Return the rows of the neurons `start` to `stop` of a layer, in the order of the key.

        Raises:
            CorruptRowError: Stored bytes are not the array that they should be.
        """
        columns = self.table.c
        query = (
            select(*(columns[name] for name in self.columns))
            .where(columns.run_id == run_id, columns.layer == layer)
            .where(columns.neuron >= start, columns.neuron < stop)
            .order_by(*self.table.primary_key)
        )
        # All at once, since every fetch has its price, and the rows are kept anyway.
        return [self._decoded(row) for row in connection.execute(query).all()]

    def _encoded(self, row: R) -> Sequence[Any]:
        values = list(self._values(row))
        for place, array in self._places:
            if values[place] is not None:
                values[place] = array.pack(values[place])
        return values

    def _decoded(self, row: Row[Any]) -> R:
        values = list(row)
        for place, array in self._places:
            if values[place] is not None:
                values[place] = self._unpacked(values, place, array)
        return self._row(**dict(zip(self.columns, values, strict=True)))

    def _unpacked(self, values: Sequence[Any], place: int, array: PackedArray) -> Any:
        try:
            return array.unpack(values[place])
        except ValueError as error:
            key = dict(zip(self.columns, values, strict=True))
            raise CorruptRowError(
                self.table.name,
                self.columns[place],
                key["layer"],
                key["neuron"],
                len(values[place]),
            ) from error
