"""Lists of neurons against plain SQL, on a run as `benchmarks/fill.py` makes it."""

import pytest
from sqlalchemy import text

from db import listed_neurons, neuron_filter, neuron_list
from db.cursors import Cursor
from db.neuron_filter import BANDS, Band, NeuronFilter, with_words_counted
from db.neuron_list import (
    SORTS,
    ListedNeuron,
    NeuronOrder,
    all_neurons,
    count_neurons,
    neuron_page,
)
from tests.support.filled import plans

COLUMNS = """
    layer, neuron, summary.state, score, score_top, score_random, lookup.lookup_score,
    score - lookup.lookup_score AS gap, max_activation, skewness, usd, reason, explanation
    FROM neuron_summary AS summary
    LEFT JOIN (SELECT layer, neuron, score AS lookup_score FROM baseline_score
               WHERE baseline = 'lookup') AS lookup USING (layer, neuron)
    LEFT JOIN (SELECT layer, neuron, skewness FROM neuron_records) AS record USING (layer, neuron)
"""
FILTERS = {
    "everyone": (NeuronFilter(), "true"),
    "layers": (NeuronFilter(layers=(1, 3)), "layer IN (1, 3)"),
    "block": (NeuronFilter((1,), 100, 200), "layer = 1 AND neuron BETWEEN 100 AND 199"),
    "failed": (NeuronFilter(states=("failed",)), "state = 'failed'"),
    "unscored": (NeuronFilter(states=("explained", "collected", "undefined")),
                 "state IN ('explained', 'collected', 'undefined')"),
    "score": (NeuronFilter(bands={"score": Band(0.2, 0.4)}), "score BETWEEN 0.2 AND 0.4"),
    "only high": (NeuronFilter(bands={"score_top": Band(0.5), "score_random": Band(None, 0.45)}),
                  "score_top >= 0.5 AND score_random <= 0.45"),
    "gap": (NeuronFilter(bands={"gap": Band(0.1)}), "score - lookup_score >= 0.1"),
    "cost": (NeuronFilter(bands={"usd": Band(0.003), "max_activation": Band(4, 8)}),
             "usd >= 0.003 AND max_activation BETWEEN 4 AND 8"),
    "skewed": (NeuronFilter(bands={"skewness": Band(8)}), "skewness >= 8"),
    "words": (NeuronFilter(words="vienna COMMA"),
              "explanation ILIKE '%Vienna%' AND explanation ILIKE '%comma%'"),
    "phrase": (NeuronFilter(words='"court cases" -list'),
               "explanation ILIKE '%court cases%' AND NOT explanation ILIKE '%list%'"),
    "no word": (NeuronFilter(words="'-"), "explanation LIKE '%''-%'"),
    "wildcards": (NeuronFilter(words="%_"), "false"),
    "hostile": (NeuronFilter(words="a\0' OR 1=1; -- \\"), "false"),
    "everything": (NeuronFilter((0, 1), 10, 600, ("scored",), {"score": Band(0.1)}, "words"),
                   "layer < 2 AND neuron BETWEEN 10 AND 599 AND score >= 0.1"
                   " AND explanation ~ '\\mwords\\M'"),
}  # fmt: skip


def expected(connection, condition, order):
    direction = "DESC" if order.descending else "ASC"
    keys = ", ".join(f"{key} {direction}" for key in order.keys)
    defined = "true" if order.sort == "place" else f"{order.sort} IS NOT NULL"
    query = f"""
        SELECT * FROM (SELECT {COLUMNS}) AS every WHERE {condition} AND {defined} ORDER BY {keys}
    """  # noqa: S608
    return [ListedNeuron(*row) for row in connection.execute(text(query))]


def walked(connection, chosen, order, size):
    """Return all neurons page by page, having gone back once from each page."""
    found, cursor, before = [], None, None
    while True:
        page = neuron_page(connection, 1, chosen, order, cursor, size)
        found += page.neurons
        if page.previous is not None:
            back = neuron_page(connection, 1, chosen, order, page.previous, size)
            assert back.neurons == before
        assert (page.previous is None) == (before is None)
        if page.next is None:
            return found
        cursor, before = page.next, page.neurons


@pytest.mark.parametrize("name", FILTERS)
def test_a_list_has_what_the_views_say(filled, name):
    chosen, condition = FILTERS[name]
    with filled.connect() as connection:
        for sort in ("place", "score", "usd"):
            order = NeuronOrder(sort, descending=sort == "score")
            right = expected(connection, condition, order)
            assert list(all_neurons(connection, 1, chosen, order)) == right
            assert neuron_page(connection, 1, chosen, order).neurons == right[:50]
        everyone = expected(connection, condition, NeuronOrder())
        assert count_neurons(connection, 1, chosen) == len(everyone) < 3000
        assert count_neurons(connection, 1, chosen, at_most=3) == min(3, len(everyone))
        counted = with_words_counted(connection, 1, chosen)
        assert count_neurons(connection, 1, counted) == len(everyone)
        assert count_neurons(connection, 1, counted, at_most=3) == min(3, len(everyone))
        assert list(all_neurons(connection, 1, counted)) == everyone
    assert everyone or condition == "false"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="any"),
        pytest.param({"bands": {"score": Band()}}, id="of those that have a score"),
        pytest.param({"layers": (1,)}, id="of a layer that the first ones are not of"),
        pytest.param({"states": ("failed",)}, id="none"),
    ],
)
def test_the_neurons_of_common_words_are_counted_from_the_first_explanations(
    filled, monkeypatch, more
):
    for module in (neuron_filter, neuron_list):
        monkeypatch.setattr(module, "MANY", 50)
    monkeypatch.setattr(neuron_filter, "MORE", 0)
    chosen = NeuronFilter(words="words", **more)
    with filled.connect() as connection:
        counted = with_words_counted(connection, 1, chosen)
        right = len(list(all_neurons(connection, 1, chosen)))
        assert counted.n_explained == 50
        for at_most in (3, 40, 3000):
            assert count_neurons(connection, 1, counted, at_most) == min(at_most, right)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", SORTS)
def test_pages_follow_each_other_in_both_directions_also_among_equal_numbers(
    filled, sort, descending
):
    order, chosen = NeuronOrder(sort, descending), NeuronFilter(layers=(0, 2))
    with filled.connect() as connection:
        right = expected(connection, "layer IN (0, 2)", order)
        assert len({neuron.score for neuron in right}) < len(right) / 2  # templates repeat
        assert walked(connection, chosen, order, 97) == right


def test_the_last_page_may_be_whole(filled):
    with filled.connect() as connection:
        page = neuron_page(connection, 1, NeuronFilter((0,), 0, 50))
        assert (len(page.neurons), page.previous, page.next) == (50, None, None)
        empty = neuron_page(connection, 1, NeuronFilter((77,)))
        assert empty == ([], None, None)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "W10", "\0", "é" * 99, "W" * 10_000, str(Cursor((1, 2), backwards=False)),
     str(Cursor((1.0, 2.0, 3), backwards=False)), str(Cursor((1.0, 2, 2**40), backwards=False)),
     str(Cursor((float("inf"), 2, 3), backwards=False)), "W" + "1tb" * 100],
)  # fmt: skip
def test_a_cursor_that_is_not_of_the_list_is_refused(filled, cursor):
    with filled.connect() as connection, pytest.raises(ValueError, match="cursor"):
        neuron_page(connection, 1, NeuronFilter(), NeuronOrder("score"), cursor)


def test_what_a_list_cannot_sort_or_filter_by_is_named(filled):
    with filled.connect() as connection, pytest.raises(ValueError, match="there are place, score"):
        neuron_page(connection, 1, NeuronFilter(), NeuronOrder("layer; DROP TABLE run"))
    with pytest.raises(ValueError, match="'lost' is no state: there are waiting, "):
        NeuronFilter(states=("lost",))
    with pytest.raises(ValueError, match="'x' is no band: there are score, "):
        NeuronFilter(bands={"x": Band()})


def test_every_band_is_a_column(filled):
    with filled.connect() as connection:
        for name in BANDS:
            page = neuron_page(connection, 1, NeuronFilter(bands={name: Band(-1e9, 1e9)}))
            assert page.neurons


def test_lists_are_renewed_to_what_is_stored_already(filled):
    with filled.connect() as connection:
        assert list(listed_neurons.differences(connection, 1, range(4))) == []
        assert listed_neurons.renew(connection, 1, [2]) == 0


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", SORTS)
def test_each_sort_walks_along_its_index(filled, sort, descending):
    order = NeuronOrder(sort, descending)

    def ask(connection):
        page = neuron_page(connection, 1, NeuronFilter(), order)
        page = neuron_page(connection, 1, NeuronFilter(), order, page.next)
        neuron_page(connection, 1, NeuronFilter(), order, page.previous)

    index = "pk_listed_neuron" if sort == "place" else f"ix_listed_neuron_{sort}"
    for plan in plans(filled, ask):
        assert f"using {index} on listed_neuron" in plan or f"Scan on {index}" in plan
        for table in ("listed_neuron", "neuron_records", "explanation", "score", "call"):
            assert f"Seq Scan on {table}" not in plan


def test_rare_words_are_found_by_their_index(filled):
    def ask(connection):
        neuron_page(connection, 1, NeuronFilter(words="vienna comma"), NeuronOrder("score"))

    *_, plan = plans(filled, ask)
    assert "Bitmap Index Scan on ix_explanation_words" in plan
