"""Plots as SVG: equal bytes for equal values, text as text, a sentence in place of nothing."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from db.calibration_values import Calibration, CalibrationLevel
from db.plot_values import ControlCell, Finished, Paid, PairedCell, ScoreBins, SparsityBin
from neurogloss.neurons import paper
from web.plots.catalog import PLOTS
from web.plots.course import NOTHING_PAID, Course
from web.plots.layers import LayerMeansOf
from web.plots.scores import NO_SCORES

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = BEGAN + timedelta(hours=8)
MEANS = {"explanation": [0.5, None, 0.2], "lookup": [0.7, 0.6, 0.5], "weights": [None] * 3}
VALUES = {
    "scores": [
        ScoreBins("explanation", -0.1, [1] * 22, 22, 0.431),
        ScoreBins("lookup", 0.0, [2] * 20, 40, 0.512),
    ],
    "layers": LayerMeansOf([0, 1, 2], 3, MEANS, paper.layer_means()),
    "lookup": [PairedCell(0, 0.5, 0.7, 30, 20), PairedCell(2, -0.2, 0.1, 1, 1)],
    "control": [ControlCell(-0.1, 0.7, 30, 20), ControlCell(0.2, 0.1, 1, 0)],
    "sparsity": [SparsityBin(1, 2, 5, 0.3, 0.1, 0.4, None), SparsityBin(2, 4, 9, 0.6, 0.5, 1, 0.5)],
    "calibration": Calibration(3, [CalibrationLevel(i, 10**i, i / 2, 0, i) for i in range(5)]),
    "course": Course(
        BEGAN, NOW, 3600.0, 4000, 5.0,
        [Paid(BEGAN + timedelta(hours=h), "explain", 0.5) for h in range(8)],
        [Finished(BEGAN + timedelta(hours=h), "score", 400) for h in range(8)],
    ),
}  # fmt: skip
NOTHING = {
    "scores": ([], NO_SCORES),
    "layers": (LayerMeansOf([], 3, {"explanation": []}, paper.layer_means()), NO_SCORES),
    "lookup": ([], "lookup baseline"),
    "control": ([], "a control"),
    "sparsity": ([], "statistics"),
    "calibration": (Calibration(0, []), "simulation"),
    "course": (Course(BEGAN, NOW, 60.0, 9, None, [], []), "imported"),
}


def texts_of(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


@pytest.mark.parametrize("name", PLOTS)
def test_equal_values_give_equal_bytes_and_themes_differ(name):
    plot, values = PLOTS[name].drawing, VALUES[name]
    light = plot.svg(values, "light")
    assert light == plot.svg(values, "light")
    assert light != plot.svg(values, "dark")
    assert "DejaVu" not in light and "<image" not in light
    assert plot.title in texts_of(light)


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_is_said_in_a_sentence(name):
    values, sentence = NOTHING[name]
    assert sentence in " ".join(texts_of(PLOTS[name].drawing.svg(values, "dark")))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scores", ["22 neurons", "mean 0.431", "mean of lookup 0.512", "the paper's mean 0.151"]),
        ("layers", ["explanation", "lookup", "paper", "layer"]),
        ("lookup", ["67 % beat lookup", "of 30", "100 % beat lookup", "of 1"]),
        ("sparsity", ["14 neurons", "lookup"]),
        ("calibration", ["11,111 tokens of scored records of 3 neurons", "true as simulated"]),
        (
            "course",
            ["explain $4.00", "budget $5.00", "score 3,200", "hours since the run was created"],
        ),
    ],
)
def test_what_is_drawn_is_said_in_words(name, said):
    assert set(said) <= set(texts_of(PLOTS[name].drawing.svg(VALUES[name], "light")))


def test_a_baseline_without_scores_has_no_panel():
    assert "weights" not in texts_of(PLOTS["layers"].drawing.svg(VALUES["layers"], "light"))


def test_a_run_without_calls_says_so_beside_what_it_finished():
    values = Course(BEGAN, NOW, 60.0, 9, 1.0, [], VALUES["course"].finished)
    assert NOTHING_PAID in texts_of(PLOTS["course"].drawing.svg(values, "light"))
