"""Lists of a run's neurons, sorted, and read a page at a time.

A page begins where the one before it ended, which the index of its sort finds at once; an OFFSET
would read all rows before it. A list that is sorted by a number has the neurons that have it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from db.cursors import Cursor
from db.neuron_filter import MANY, NeuronFilter, selection
from db.session import streamed
from db.tables.lists import SORTED

PLACE = "place"  # the order of layers and neurons
SORTS = (PLACE, *SORTED)
PAGE = 50


@dataclass(frozen=True, slots=True)
class ListedNeuron:
    """A neuron of a list: a row of the view neuron_summary, beside its baseline.

    `gap` is `score` less `lookup_score`, that of the baseline `lookup`.
    """

    layer: int
    neuron: int
    state: str
    score: float | None
    score_top: float | None
    score_random: float | None
    lookup_score: float | None
    gap: float | None
    max_activation: float | None
    skewness: float | None
    usd: float | None
    reason: str | None
    explanation: str | None


class NeuronPage(NamedTuple):
    """Some neurons of a list, and cursors of the pages before and after; None if there is none."""

    neurons: list[ListedNeuron]
    previous: str | None
    next: str | None


class NeuronOrder(NamedTuple):
    """By what a list is sorted: one of SORTS, then layer, then neuron, all in one direction."""

    sort: str = PLACE
    descending: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that it sorts by.

        Raises:
            ValueError: The sort is unknown.
        """
        if self.sort not in SORTS:
            raise ValueError(f"{self.sort!r} is no sort: there are {', '.join(SORTS)}")
        return ("layer", "neuron") if self.sort == PLACE else (self.sort, "layer", "neuron")


FIRST_TO_LAST = NeuronOrder()


def neuron_page(
    connection: Connection,
    run_id: int,
    chosen: NeuronFilter,
    order: NeuronOrder = FIRST_TO_LAST,
    cursor: str | None = None,
    size: int = PAGE,
) -> NeuronPage:
    """Return a page of a list; without a cursor, the first one.

    Raises:
        ValueError: The sort is unknown, or the cursor is not of a list that is sorted so.
    """
    at = None if cursor is None else Cursor.read(cursor, len(order.keys))
    is_backwards = at is not None and at.backwards
    query, values = _query(connection, run_id, chosen, order, at)
    # One row more than a page has: it says whether there is another page that way.
    rows = connection.execute(
        text(_with_texts(f"{query} LIMIT :limit", order, at)), {**values, "limit": size + 1}
    )
    found = [ListedNeuron(*row) for row in rows]
    is_more, neurons = len(found) > size, found[:size]
    if is_backwards:
        neurons.reverse()
    before, after = (is_more, True) if is_backwards else (at is not None, is_more)
    return NeuronPage(
        neurons,
        _cursor(neurons[0], order, backwards=True) if neurons and before else None,
        _cursor(neurons[-1], order, backwards=False) if neurons and after else None,
    )


def _cursor(neuron: ListedNeuron, order: NeuronOrder, *, backwards: bool) -> str:
    return str(Cursor(tuple(getattr(neuron, key) for key in order.keys), backwards))


def all_neurons(
    connection: Connection, run_id: int, chosen: NeuronFilter, order: NeuronOrder = FIRST_TO_LAST
) -> Iterator[ListedNeuron]:
    """Yield all neurons of a list, from a cursor that the server keeps."""
    query, values = _query(connection, run_id, chosen, order, None)
    for row in streamed(connection, _with_texts(query, order, None), values):
        yield ListedNeuron(**row)


def count_neurons(
    connection: Connection, run_id: int, chosen: NeuronFilter, at_most: int = 3_000
) -> int:
    """Return how many neurons a list has, or `at_most` if there are more."""
    n_explained = chosen.n_explained
    if chosen.has_words_alone and n_explained is not None and min(at_most, n_explained) < MANY:
        return min(at_most, n_explained)  # each neuron has a row, and one explanation
    # Those of the first explanations nearly always do, and are counted in a tenth of the time.
    first = chosen.among_first_explained()
    if first and at_most < MANY and _count(connection, run_id, first, at_most) == at_most:
        return at_most
    return _count(connection, run_id, chosen, at_most)


def _count(connection: Connection, run_id: int, chosen: NeuronFilter, at_most: int) -> int:
    source, values = selection(connection, run_id, chosen)
    query = text(f"SELECT count(*) FROM (SELECT FROM {source} LIMIT :limit) AS listed")  # noqa: S608
    return int(connection.execute(query, {**values, "limit": at_most}).scalar_one())


_COLUMNS = [f.name for f in fields(ListedNeuron) if f.name not in ("reason", "explanation")]


def _query(
    connection: Connection,
    run_id: int,
    chosen: NeuronFilter,
    order: NeuronOrder,
    at: Cursor | None,
) -> tuple[str, dict[str, Any]]:
    """Return the query of a list from a cursor on, in the direction of the cursor; its values."""
    source, values = selection(connection, run_id, chosen)
    columns = ", ".join(f"listed.{name}" for name in ("run_id", *_COLUMNS))
    # OFFSET 0 keeps the server from merging the subquery into the sort along the index.
    if _is_filtered_first(chosen, order):
        source = f"(SELECT listed.* FROM {source} OFFSET 0) AS listed WHERE true"  # noqa: S608
    query = f"SELECT {columns} FROM {source}"  # noqa: S608  (names of our own columns)
    keys = ", ".join(f"listed.{key}" for key in order.keys)
    if order.sort != PLACE:
        query += f" AND listed.{order.sort} IS NOT NULL"
    if at is not None:
        names = [f"key_{place}" for place in range(len(at.key))]
        side = "<" if _is_descending(order, at) else ">"
        query += f" AND ({keys}) {side} ({', '.join(f':{name}' for name in names)})"
        values |= dict(zip(names, at.key, strict=True))
    return f"{query} {_order_by('listed', order, at)}", values


def _is_filtered_first(chosen: NeuronFilter, order: NeuronOrder) -> bool:
    """Return whether neurons are filtered before they are sorted, in place of along the index.

    So it takes as long for every filter: that few neurons of a high score have a low score of top
    records is nothing that the server could know. Common words are looked for along the index.
    """
    is_narrow = bool(chosen.bands.keys() - {order.sort}) or chosen.states not in ((), ("scored",))
    return order.sort != PLACE and is_narrow and not chosen.words


def _is_descending(order: NeuronOrder, at: Cursor | None) -> bool:
    return order.descending ^ (at is not None and at.backwards)


def _order_by(table: str, order: NeuronOrder, at: Cursor | None) -> str:
    direction = "DESC" if _is_descending(order, at) else "ASC"
    return "ORDER BY " + ", ".join(f"{table}.{key} {direction}" for key in order.keys)


def _with_texts(query: str, order: NeuronOrder, at: Cursor | None) -> str:
    """Return the query with what the view neuron_summary says of the neurons in words."""
    columns = ", ".join(f"page.{name}" for name in _COLUMNS)
    return f"""
        WITH page AS MATERIALIZED ({query})
        SELECT {columns}, reason, explanation
        FROM page JOIN run ON run.id = page.run_id CROSS JOIN LATERAL (
            SELECT reason, explanation FROM neuron_summary AS summary
            WHERE summary.run = run.name AND summary.layer = page.layer
              AND summary.neuron = page.neuron OFFSET 0) AS found
        {_order_by("page", order, at)}
    """  # noqa: S608  (names of our own columns)
