import numpy as np
import pytest

from neurogloss.neurons.alarms import Evidence, ScoreCounts, alarms_of
from neurogloss.neurons.control_summary import ControlSummary
from neurogloss.neurons.few_shot import EXAMPLES, TOKENS_EXAMPLES

GOOD = [f"words about {number}" for number in range(40)]
DRAWN = np.random.default_rng(0).integers(0, 11, (40, 16)).astype(np.float16)
ANSWERS = [answer.tobytes() for answer in DRAWN]
SILENT = np.zeros(16, np.float16).tobytes()


def alarms(explanations=GOOD, answers=ANSWERS, covered=None, control=None):
    return alarms_of(Evidence(explanations, answers, covered, control))


@pytest.mark.parametrize("covered", [None, 0.5, 1.0])
def test_results_that_differ_and_rest_on_something_raise_no_alarm(covered):
    assert alarms(covered=covered) == []
    assert alarms(answers=[*ANSWERS[:10], *[SILENT] * 30], covered=covered) == []
    assert alarms([], []) == []


def test_little_coverage_is_named():
    (alarm,) = alarms(covered=0.031)
    assert "rest on 3.1% of the probability" in alarm


@pytest.mark.parametrize("answer", [ANSWERS[0], np.full(16, 3, np.float16).tobytes(), SILENT])
def test_a_simulator_that_always_says_the_same_is_named(answer):
    (alarm,) = alarms(answers=[answer] * 72)
    assert "72 of 72 simulations are the same" in alarm


def test_a_few_answers_prove_nothing():
    assert alarms(answers=[ANSWERS[0]] * 3) == []
    assert alarms(answers=[SILENT] * 9) == []
    assert alarms(["words"] * 3) == []


@pytest.mark.parametrize("example", [EXAMPLES[0], TOKENS_EXAMPLES[2]])
def test_an_explanation_that_repeats_an_example_is_named(example):
    (alarm,) = alarms([*GOOD, example.explanation.upper()])
    assert alarm == "1 of 41 explanations repeat an example of the prompt (alarm from 1%)"


def test_explanations_that_repeat_each_other_are_named():
    (alarm,) = alarms([*GOOD[:20], *["Words"] * 5, "words"])
    assert alarm == "6 of 26 explanations are the same (alarm from 20%)"


def controlled(n, score, difference, error):
    return ControlSummary(n, n, score, score - difference, difference, error, {})


@pytest.mark.parametrize(
    ("control", "least"),
    [
        pytest.param(controlled(30, 0.41, 0.0, 0.0), "0.020", id="all alike"),
        pytest.param(controlled(30, 0.41, -0.01, 0.004), "0.020", id="even worse"),
        pytest.param(controlled(30, 0.3, 0.05, 0.04), "0.080", id="chance"),
    ],
)
def test_scores_that_are_no_better_than_control_are_an_alarm(control, least):
    (alarm,) = alarms(control=control)
    assert alarm.startswith(f"scores are no better than control: mean {control.score:.3f}, with")
    assert f"over 30 neurons (alarm where less than {least} lies between)" in alarm


@pytest.mark.parametrize(
    "control",
    [
        pytest.param(controlled(30, 0.151, 0.121, 0.03), id="better"),
        pytest.param(controlled(4, 0.4, 0.0, 0.0), id="too few"),
        pytest.param(ControlSummary(2, 0, None, None, None, None, {"no_partner": 2}), id="none"),
    ],
)
def test_scores_above_control_and_few_controls_are_no_alarm(control):
    assert alarms(control=control) == []


@pytest.mark.parametrize(
    ("counts", "begins"),
    [
        (ScoreCounts(80, undefined=20), ["20% of 100 scores are undefined"]),
        (ScoreCounts(81, undefined=19), []),
        (ScoreCounts(10, undefined=10), []),
        (ScoreCounts(95, failed=5), ["5% of neurons failed, 5 of them (alarm from 5%)"]),
        (ScoreCounts(96, failed=4), []),
        (ScoreCounts(), []),
    ],
)
def test_many_scores_that_are_missing_are_an_alarm(counts, begins):
    found = alarms_of(Evidence(GOOD, ANSWERS, None, scores=counts))
    assert len(found) == len(begins)
    assert all(said.startswith(begin) for said, begin in zip(found, begins, strict=True))


@pytest.mark.parametrize(("devices", "n"), [((), 0), (("CPU",), 0), (("CPU", "H100"), 1)])
def test_activations_of_several_kinds_of_device_are_named(devices, n):
    found = alarms_of(Evidence(GOOD, ANSWERS, None, devices=devices))
    assert len(found) == n
    assert all("2 kinds of device" in alarm and "CPU; H100" in alarm for alarm in found)
