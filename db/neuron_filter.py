"""Which neurons of a run a list has, as SQL."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from db.bulk import storable
from db.listed_neurons import END
from db.tables.lists import SORTED
from db.tables.results import WORDS

STATES = ("waiting", "collected", "explained", "failed", "undefined", "scored")
BANDS = (*SORTED, "lookup_score", "skewness")
LONGEST_WORDS = 1000  # characters


class Band(NamedTuple):
    """The lowest and the highest value of a number; None is open. NULL is in no band."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class NeuronFilter:
    """Which neurons of a run a list has: those for which all of this is true.

    Attributes:
        layers: Empty for all of them.
        start: The first neuron of each layer.
        stop: The one behind the last.
        states: Some of STATES; empty for all of them.
        bands: By some of BANDS.
        words: That the explanation has, written as for a search: `"two words"`, `-not`, `or`. Where
            there is no word among them, the explanation has exactly these characters.
        n_explained: How many explanations have the words, or MANY: see `with_words_counted`.

    Raises:
        ValueError: A state or a band is unknown.
    """

    layers: tuple[int, ...] = ()
    start: int = 0
    stop: int = END
    states: tuple[str, ...] = ()
    bands: Mapping[str, Band] = field(default_factory=dict)
    words: str = ""
    n_explained: int | None = None

    def __post_init__(self) -> None:
        for name, given, known in (("state", self.states, STATES), ("band", self.bands, BANDS)):
            if unknown := set(given) - set(known):
                raise ValueError(f"{min(unknown)!r} is no {name}: there are {', '.join(known)}")

    @property
    def has_words_alone(self) -> bool:
        """Whether nothing is asked for but words."""
        return bool(self.words) and replace(self, words="", n_explained=None) == NeuronFilter()

    def among_first_explained(self) -> "NeuronFilter | None":
        """Return the same for the first explanations alone that have words that MANY have.

        None if fewer have them, or it is not known how many have.
        """
        if self.n_explained is None or self.n_explained < MANY:
            return None
        return replace(self, n_explained=MANY - 1)


class Selection(NamedTuple):
    """The part after FROM of a query of the table `listed_neuron`, named listed; and its values."""

    sql: str
    values: dict[str, Any]


def selection(connection: Connection, run_id: int, chosen: NeuronFilter) -> Selection:
    """Return which neurons are chosen, as SQL that ends with conditions."""
    values: dict[str, Any] = {
        "run": run_id,
        "layers": list(chosen.layers),
        "start": chosen.start,
        "stop": chosen.stop,
        "states": list(chosen.states),
    }
    for name, band in chosen.bands.items():
        values |= {f"{name}_low": band.low, f"{name}_high": band.high}
    source = "listed_neuron AS listed"
    if of_words := _values_of_words(run_id, chosen):
        values |= of_words
        n_explained = with_words_counted(connection, run_id, chosen).n_explained
        explained = _explained(connection, values, n_explained or 0)
        source += f" JOIN {explained} USING (run_id, layer, neuron)"
    return Selection(f"{source} WHERE {' AND '.join(_conditions(chosen))}", values)


def _conditions(chosen: NeuronFilter) -> Iterator[str]:
    yield "listed.run_id = :run"
    if chosen.layers:
        yield "listed.layer = ANY(:layers)"
    if (chosen.start, chosen.stop) != (0, END):
        yield "listed.neuron >= :start AND listed.neuron < :stop"
    if chosen.states:
        yield "state = ANY(:states)"
    for name, (low, high) in chosen.bands.items():
        yield f"listed.{name} IS NOT NULL"
        if low is not None:
            yield f"listed.{name} >= :{name}_low"
        if high is not None:
            yield f"listed.{name} <= :{name}_high"


MANY = 5000  # matches from which on words are looked for along the index of the sort
MORE = 100  # explanations that may be stored between two queries
_HAS_WORDS = f"{WORDS.text} @@ websearch_to_tsquery('simple', :words)"
_HAS_PATTERN = r"text ILIKE :pattern ESCAPE '\'"
_N_WORDS = text("SELECT numnode(websearch_to_tsquery('simple', :words))")


def with_words_counted(connection: Connection, run_id: int, chosen: NeuronFilter) -> NeuronFilter:
    """Return the filter with how many explanations have its words, for all queries to come.

    That takes up to a tenth of a second, and a page asks more than one query.
    """
    values = _values_of_words(run_id, chosen)
    if not values or chosen.n_explained is not None:
        return chosen
    found = f"{_found(connection, values)} LIMIT {MANY}"
    counted = text(f"SELECT count(*) FROM ({found}) AS found")  # noqa: S608
    return replace(chosen, n_explained=int(connection.execute(counted, values).scalar_one()))


def _values_of_words(run_id: int, chosen: NeuronFilter) -> dict[str, Any]:
    words = storable(chosen.words[:LONGEST_WORDS]).strip()
    return {"run": run_id, "words": words, "pattern": _pattern(words)} if words else {}


def _found(connection: Connection, values: dict[str, Any]) -> str:
    has = _HAS_WORDS if connection.scalar(_N_WORDS, values) else _HAS_PATTERN
    return f"SELECT run_id, layer, neuron FROM explanation WHERE run_id = :run AND {has}"  # noqa: S608


def _explained(connection: Connection, values: dict[str, Any], n_explained: int) -> str:
    """Return the subquery of the explanations that have the words.

    Common words are met soon along any index that a list is sorted by. Of others all explanations
    are found first, by the index of words: a LIMIT that is not reached tells the server how few.
    """
    found = _found(connection, values)
    if n_explained < MANY:
        found += f" LIMIT {n_explained + MORE}"
    return f"({found}) AS explained"


def _pattern(words: str) -> str:
    escaped = words.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"
