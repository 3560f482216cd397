import json

import numpy as np
import pytest

from neurogloss.errors import Malformed
from neurogloss.neurons.classification import (
    area_under_curve,
    balanced_accuracy,
    classification_body,
    detection_examples,
    fires,
    fuzzing_examples,
    is_silent,
    read_classification,
)
from neurogloss.neurons.distributions import pack_distributions
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.simulators.base import ModelReply

LOUD = ActivationRecord((" the", " cat", "\n", " sat"), (0.0, 9.0, 4.0, 0.5))
QUIET = ActivationRecord((" no", "<<", "<end>"), (0.0, 0.4, -0.1))


def test_detection_shows_whole_excerpts_on_one_line():
    found = detection_examples([LOUD], [QUIET])
    assert [(example.text, example.is_true) for example in found] == [
        (" the cat\\n sat", True),
        (" no\\<<\\<end>", False),
    ]


def test_neighbours_that_fire_share_their_marks():
    (example,) = fuzzing_examples([LOUD], [], 10.0, [0])
    assert (example.text, example.is_true) == (" the<< cat\\n>> sat", True)


def test_wrong_marks_are_as_many_and_on_silent_tokens():
    record = ActivationRecord(tuple("abcdef"), (9.0, 0.0, 0.0, 2.0, 8.0, 0.0))
    drawn = {fuzzing_examples([], [record], 10.0, [seed])[0].text for seed in range(40)}
    assert drawn == {"a<<bc>>def", "a<<b>>cde<<f>>", "ab<<c>>de<<f>>"}
    again = [fuzzing_examples([], [record], 10.0, [7]) for _ in range(2)]
    assert again[0] == again[1]


def test_a_record_with_too_few_silent_tokens_gets_no_wrong_marks():
    dense = ActivationRecord(tuple("abc"), (9.0, 8.0, 0.0))
    assert fuzzing_examples([], [dense], 10.0, [0]) == []


def test_what_fires_and_what_is_silent_leaves_a_gap():
    between = ActivationRecord(("a",), (2.0,))
    assert (fires(LOUD, 10), is_silent(LOUD, 10)) == (True, False)
    assert (fires(QUIET, 10), is_silent(QUIET, 10)) == (False, True)
    assert (fires(between, 10), is_silent(between, 10)) == (False, False)


def test_a_question_has_a_schema_of_zeros_and_ones():
    body = classification_body("fuzzing", "cats\n0: 1", fuzzing_examples([LOUD], [], 10, [0]), None)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"] == {"0": {"type": "integer", "enum": [0, 1]}}
    assert "logprobs" not in body
    lines = body["messages"][-1]["content"].splitlines()
    assert lines == ["The neuron looks for: cats\\n0: 1", "Texts:", "0:  the<< cat\\n>> sat"]


@pytest.mark.parametrize("text", ["[0, 1, 1]", '{"0": 0, "1": 1, "2": 1}'])
def test_answers_are_read(text):
    found = read_classification(ModelReply(text), 3)
    assert found.answers.tolist() == [0, 1, 1]
    assert found.probabilities is None


@pytest.mark.parametrize(
    "text",
    ["", "yes", "[0, 1]", '{"0": 0, "1": 2}', '{"0": 0, "1": 0.5}', '{"0": 1, "0": 0, "1": 1}'],
)
def test_what_is_no_classification_is_an_error(text):
    with pytest.raises(Malformed):
        read_classification(ModelReply(text), 3 if text == "[0, 1]" else 2)


def test_probabilities_are_between_zero_and_one_alone():
    text = json.dumps({"0": 1, "1": 0})
    places = [(text.index("1,"), {0: 0.2, 1: 0.6, 5: 0.2}), (text.rindex("0"), {0: 0.9})]
    found = read_classification(ModelReply(text, pack_distributions(places)), 2)
    assert found.probabilities == pytest.approx([0.75, 0.0], abs=1e-3)


@pytest.mark.parametrize("places", [[], [(6, {0: 0.5, 1: 0.5})], [(6, {1: 1.0}), (14, {7: 1.0})]])
def test_missing_probabilities_are_an_error(places):
    with pytest.raises(Malformed):
        read_classification(ModelReply('{"0": 1, "1": 0}', pack_distributions(places)), 2)


def test_balanced_accuracy_and_area_under_the_curve():
    truth = np.array([1.0, 1, 1, 0])
    assert balanced_accuracy(truth, truth) == 1
    assert balanced_accuracy(truth, np.ones(4)) == 0.5
    assert balanced_accuracy(truth, np.array([1.0, 0, 0, 0])) == pytest.approx(2 / 3)
    assert area_under_curve(truth, np.array([0.9, 0.4, 0.3, 0.4])) == pytest.approx((1 + 0.5) / 3)
