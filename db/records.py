"""Activation records and token means of neurons."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from db.bulk import upsert
from db.runs import table
from db.tables import NeuronRecords, TokenMeans

RECORDS_COLUMNS = tuple(column.name for column in NeuronRecords.__table__.columns)
TOKEN_MEANS_COLUMNS = tuple(column.name for column in TokenMeans.__table__.columns)


def save(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store records in the order of RECORDS_COLUMNS, unless the neuron has some already."""
    return upsert(connection, table(NeuronRecords), RECORDS_COLUMNS, rows)


def load(
    connection: Connection, run_id: int, layer: int, start: int = 0, stop: int = 2**31 - 1
) -> Sequence[RowMapping]:
    """Return the records of a range of neurons of a layer, in order."""
    return _range(connection, NeuronRecords, run_id, layer, start, stop)


def save_token_means(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store lookup tables in the order of TOKEN_MEANS_COLUMNS, unless the neuron has one."""
    return upsert(connection, table(TokenMeans), TOKEN_MEANS_COLUMNS, rows)


def token_means(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the lookup tables of a range of neurons of a layer, in order."""
    return _range(connection, TokenMeans, run_id, layer, start, stop)


def _range(
    connection: Connection,
    model: type[NeuronRecords] | type[TokenMeans],
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
