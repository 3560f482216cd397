"""The heat map of a run: every cell once, in a colour that stands for its number."""

import re

import pytest

from db.heat_map import HeatMapCell
from web.overview.heat import SCALES, STEPS, HeatMap, draw


def cell(layer, block, **values):
    defaults = {
        "n": 10, "done": 10, "failed": 0, "scored": 10, "score": 0.5, "gap": 0.1, "usd": 0.02,
    }  # fmt: skip
    return HeatMapCell(layer, block, **(defaults | values))


def squares(picture):
    """Return the class of each square, by (column, row)."""
    return {
        (int(x), int(y)): name
        for name, path in picture.paths
        for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path)
    }


@pytest.mark.parametrize("scale", SCALES)
def test_every_cell_is_drawn_once_in_every_scale(scale):
    cells = [cell(layer, block) for layer in (0, 7) for block in range(64)]
    picture = draw(HeatMap(100, [0, 7], cells), scale)
    assert len(squares(picture)) == 128
    assert sum(path.count("M") for _, path in picture.paths) == 128
    assert set(squares(picture)) == {(x, y) for x in range(64) for y in range(2)}


def test_colours_follow_the_number_and_nothing_has_its_own():
    cells = [
        cell(0, 0, score=0.0),
        cell(0, 1, score=0.2),
        cell(0, 2, score=0.4),
        cell(0, 3, score=None, scored=0, gap=None),
        cell(0, 4, score=-0.3),
    ]
    found = squares(draw(HeatMap(10, [0], cells), "score"))
    assert [found[x, 0] for x in range(5)] == ["heat0", "heat5", "heat9", "none", "heat0"]


def test_gaps_below_and_above_zero_have_colours_of_two_kinds():
    cells = [cell(0, block, gap=gap) for block, gap in enumerate((-0.4, -0.01, 0.01, 0.4))]
    found = squares(draw(HeatMap(10, [0], cells), "gap"))
    steps = [int(found[x, 0].removeprefix("gap")) for x in range(4)]
    assert steps == [0, STEPS // 2 - 1, STEPS // 2, STEPS - 1]


def test_rows_of_the_table_are_means_over_neurons():
    cells = [
        cell(3, 0, n=10, done=10, scored=10, score=0.4, failed=0, usd=1.0),
        cell(3, 1, n=30, done=0, scored=0, score=None, gap=None, failed=2, usd=0.0),
        cell(4, 0, n=10, scored=1, score=1.0),
        cell(4, 1, n=10, scored=3, score=0.0),
    ]
    third, fourth = draw(HeatMap(10, [3, 4], cells), "done").rows
    assert (third.n, third.done, third.failed, third.score, third.usd) == (40, 0.25, 2, 0.4, 0.025)
    assert fourth.score == 0.25


def test_gpt2_xl_is_drawn_in_less_than_a_third_of_a_page():
    cells = [
        cell(layer, block, score=(layer + block) / 112)
        for layer in range(48)
        for block in range(64)
    ]
    picture = draw(HeatMap(100, list(range(48)), cells), "score")
    assert sum(len(path) for _, path in picture.paths) < 50_000


def test_a_run_without_results_is_drawn():
    cells = [cell(0, 0, done=0, scored=0, score=None, gap=None, usd=0.0)]
    for scale in SCALES:
        assert draw(HeatMap(10, [0], cells), scale).paths
    assert draw(HeatMap(10, [], []), "score").paths == []
