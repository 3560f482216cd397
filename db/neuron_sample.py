"""Neurons that are drawn from a run by chance, and the same ones each time."""

from sqlalchemy import Connection, text

from db.neuron_place import Place

# In an order that has nothing to do with their places.
_DRAWN = text("""
    SELECT layer, neuron FROM listed_neuron WHERE run_id = :run AND score IS NOT NULL
    ORDER BY hashint8(layer * 1000000000::bigint + neuron), layer, neuron LIMIT :n
""")


def drawn_neurons(connection: Connection, run_id: int, n: int) -> list[Place]:
    """Return some neurons that have a score."""
    return [Place(*row) for row in connection.execute(_DRAWN, {"run": run_id, "n": n})]
