"""Reading what is stored of a range of neurons."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, select

from db.runs import table
from db.tables import Base


def of_neurons(
    connection: Connection, model: type[Base], run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the rows that a table has of the neurons `start` to `stop` of a layer, by its key."""
    of = table(model)
    query = (
        select(*of.c)
        .where(of.c.run_id == run_id, of.c.layer == layer)
        .where(of.c.neuron >= start, of.c.neuron < stop)
        .order_by(*of.primary_key)
    )
    return connection.execute(query).mappings().all()
