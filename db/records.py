"""Activation records and token means of neurons."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from db.bulk import upsert
from db.runs import table
from db.tables import NeuronRecordsTable, TokenMeansTable

RECORDS_COLUMNS = tuple(column.name for column in NeuronRecordsTable.__table__.columns)
TOKEN_MEANS_COLUMNS = tuple(column.name for column in TokenMeansTable.__table__.columns)


def save(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store records in the order of RECORDS_COLUMNS, unless the neuron has some already."""
    return upsert(connection, table(NeuronRecordsTable), RECORDS_COLUMNS, rows)


def load(
    connection: Connection, run_id: int, layer: int, start: int = 0, stop: int = 2**31 - 1
) -> Sequence[RowMapping]:
    """Return the records of a range of neurons of a layer, in order."""
    return _range(connection, NeuronRecordsTable, run_id, layer, start, stop)


def save_token_means(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store lookup tables in the order of TOKEN_MEANS_COLUMNS, unless the neuron has one."""
    return upsert(connection, table(TokenMeansTable), TOKEN_MEANS_COLUMNS, rows)


def token_means(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the lookup tables of a range of neurons of a layer, in order."""
    return _range(connection, TokenMeansTable, run_id, layer, start, stop)


def _range(
    connection: Connection,
    model: type[NeuronRecordsTable] | type[TokenMeansTable],
    run_id: int,
    layer: int,
    start: int,
    stop: int,
) -> Sequence[RowMapping]:
    query = (
        select(*model.__table__.c)
        .where(model.run_id == run_id, model.layer == layer)
        .where(model.neuron >= start, model.neuron < stop)
        .order_by(model.neuron)
    )
    return connection.execute(query).mappings().all()
