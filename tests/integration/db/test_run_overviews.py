"""Heat map, distributions, what came last, failures and calls of a run, against plain SQL."""

from collections import Counter
from datetime import timedelta
from math import floor
from operator import attrgetter
from statistics import fmean, median, quantiles

import pytest
from sqlalchemy import text

from db import failure_classes, plot_values, recent, runs, score_distribution
from db.call_page import CallUse, call_page
from db.heat_map import heat_map
from tests.support.filled import LAYERS, plans

SUMMARY = """
    SELECT layer, neuron, state, summary.score, usd, skewness, lookup.score AS lookup
    FROM neuron_summary AS summary
    JOIN neuron_records AS records USING (layer, neuron)
    LEFT JOIN (SELECT layer, neuron, score FROM baseline_score WHERE baseline = 'lookup') AS lookup
        USING (layer, neuron)
"""


@pytest.fixture
def connection(filled):
    with filled.connect() as connection:
        yield connection


@pytest.fixture
def neurons(connection):
    return connection.execute(text(SUMMARY)).all()


def test_cells_of_the_heat_map_are_sums_of_their_neurons(connection, neurons):
    cells = heat_map(connection, 1, 64)
    assert [(c.layer, c.block) for c in cells] == [(i, k) for i in range(LAYERS) for k in range(10)]
    for cell in cells:
        inside = [n for n in neurons if (n.layer, n.neuron // 64) == (cell.layer, cell.block)]
        states = Counter(n.state for n in inside)
        scores = [n.score for n in inside if n.score is not None]
        assert cell.n == 64
        assert (cell.failed, cell.scored) == (states["failed"], len(scores))
        assert cell.done == states["scored"] + states["undefined"]
        assert cell.usd == pytest.approx(sum(n.usd or 0 for n in inside))
        assert cell.score == (pytest.approx(fmean(scores)) if scores else None)
        gaps = [n.score - n.lookup for n in inside if n.score is not None]
        assert cell.gap == (pytest.approx(fmean(gaps)) if gaps else None)
    assert len({cell.score for cell in cells}) > 20


def test_every_score_is_in_one_bin(connection, neurons):
    bins = plot_values.score_bins(connection, 1)
    assert [each.kind for each in bins] == ["explanation", "lookup"]
    for each, column in zip(bins, ("score", "lookup"), strict=True):
        scores = [score for n in neurons if (score := getattr(n, column)) is not None]
        first = round(20 * each.start)
        places = Counter(min(19, floor(20 * score)) for score in scores)
        assert dict(enumerate(each.counts, first)) == {
            place: places[place] for place in range(first, 20)
        }
        assert (each.n, sum(each.counts)) == (len(scores), len(scores))
        assert each.mean == pytest.approx(fmean(scores))


def test_a_layer_has_the_mean_and_quartiles_of_its_scores(connection, neurons):
    layers = score_distribution.by_layer(connection, 1)
    assert [found.layer for found in layers] == list(range(LAYERS))
    for found in layers:
        scores = [n.score for n in neurons if n.layer == found.layer and n.score is not None]
        assert found.n == len(scores)
        if not scores:
            assert (found.mean, found.median, found.lower_quartile) == (None, None, None)
            continue
        lower, _, upper = quantiles(scores, method="inclusive")
        assert found.mean == pytest.approx(fmean(scores))
        assert found.median == pytest.approx(median(scores))
        assert (found.lower_quartile, found.upper_quartile) == pytest.approx((lower, upper))
    failed = Counter(n.layer for n in neurons if n.state == "failed")
    assert {found.layer: found.failed for found in layers if found.failed} == failed


def test_what_was_scored_last_comes_first(connection):
    rows = connection.execute(
        text("SELECT layer, neuron FROM score ORDER BY created_at DESC, layer DESC, neuron DESC")
    ).all()
    found = recent.latest(connection, 1)
    assert [(n.layer, n.neuron) for n in found] == [tuple(row) for row in rows[:20]]
    assert all((n.explanation is None) == (n.undefined_reason is not None) for n in found)


def test_the_best_and_worst_are_of_the_time_that_is_asked_for(connection):
    since = timedelta(hours=12)
    scores = connection.scalars(
        text("SELECT score FROM score WHERE created_at > now() - interval '12 hours'"
             " AND score IS NOT NULL ORDER BY score")
    ).all()  # fmt: skip
    total = connection.scalar(text("SELECT count(score) FROM score"))
    assert 10 < len(scores) < total
    worst = recent.worst_since(connection, 1, since)
    best = recent.best_since(connection, 1, since, limit=7)
    assert [n.score for n in worst] == scores[:5]
    assert [n.score for n in best] == scores[::-1][:7]
    assert recent.best_since(connection, 1, timedelta(seconds=0)) == []


def test_failures_are_counted_by_class_with_the_last_of_them(connection):
    rows = connection.execute(text("SELECT * FROM failure ORDER BY failed_at DESC, layer, neuron"))
    by_class = {}
    for row in rows:
        by_class.setdefault((row.stage, row.failure_class), []).append(row)
    found = failure_classes.failure_classes(connection, 1)
    assert len(found) >= 3
    assert {(f.stage, f.failure_class): f.n for f in found} == {
        name: len(of_class) for name, of_class in by_class.items()
    }
    assert [f.n for f in found] == sorted((f.n for f in found), reverse=True)
    for group in found:
        right = by_class[group.stage, group.failure_class]
        assert (group.first_at, group.last_at) == (right[-1].failed_at, right[0].failed_at)
        of_shown = attrgetter("layer", "neuron", "message", "attempts", "request_id", "failed_at")
        assert list(map(of_shown, group.examples)) == list(map(of_shown, right[:3]))


def test_failures_over_time_add_up(connection):
    counts = failure_classes.over_time(connection, 1, spans=6)
    n = Counter()
    for count in counts:
        n[count.stage, count.failure_class] += count.n
    found = failure_classes.failure_classes(connection, 1)
    assert n == {(f.stage, f.failure_class): f.n for f in found}
    starts = sorted({count.start for count in counts})
    assert starts[0] == min(f.first_at for f in found)
    assert 2 < len(starts) <= 6


def test_a_call_names_the_neuron_that_uses_it(connection):
    (explained,) = connection.execute(
        text("SELECT call, text FROM explanation WHERE layer = 1 AND neuron = 5")
    )
    page = call_page(connection, bytes(explained.call))
    assert page.uses == [CallUse("filled", 1, 5, "explanation", None)]
    assert (page.run, page.call.text, page.call.purpose) == ("filled", explained.text, "explain")
    assert page.created_at is not None
    (simulated, *_) = connection.execute(
        text("SELECT call, excerpt FROM simulation WHERE layer = 2 AND neuron = 7")
    )
    page = call_page(connection, bytes(simulated.call))
    assert page.uses == [CallUse("filled", 2, 7, "simulation", simulated.excerpt)]
    assert call_page(connection, b"none") is None


def test_a_call_without_a_result_is_used_by_nobody(connection):
    call = connection.scalar(
        text("SELECT identity FROM call WHERE finish_reason = 'length' LIMIT 1")
    )
    assert call_page(connection, bytes(call)).uses == []


LARGE = ("call", "simulation", "explanation", "score", "neuron_records", "listed_neuron", "failure")


@pytest.mark.parametrize(
    "ask",
    [
        lambda connection: recent.latest(connection, 1),
        lambda connection: recent.best_since(connection, 1),
        lambda connection: call_page(connection, b"x" * 32),
    ],
    ids=["latest", "best", "call"],
)
def test_no_table_is_read_whole(filled, ask):
    # What the planner does on tables of any size, if it is told that reading one whole is dear.
    for plan in plans(filled, ask, setting="enable_seqscan = off"):
        assert "Disabled: true" not in plan
        assert "using ix_score_best" not in plan
        for table in LARGE:
            assert f"Seq Scan on {table}" not in plan, plan


def test_plots_and_heat_maps_read_the_narrow_table_alone(filled):
    with filled.connect() as connection:
        run = runs.get(connection, 1)

    def ask(connection):
        heat_map(connection, 1)
        score_distribution.by_layer(connection, 1)
        plot_values.score_bins(connection, 1)
        plot_values.paired_cells(connection, run)

    for plan in plans(filled, ask):
        assert "on listed_neuron" in plan
        assert "SubPlan" not in plan
        for table in set(LARGE) - {"listed_neuron"}:
            assert f" on {table}" not in plan
