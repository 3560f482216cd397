import json

import pytest
from hypothesis import given

from neurogloss.neurons.prompts import LEAD_IN
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.revision import ObservedSentence, revision_body
from tests.support.hostile_text import HOSTILE, hostile_tokens

LOUD = ActivationRecord((" the", " cat", " sat"), (0.0, 8.0, 4.0))
RIGHT = ObservedSentence(ActivationRecord(("A", " cat"), (-0.1, 20.0)), is_expected=True)
SILENT = ObservedSentence(ActivationRecord(("A", " dog"), (0.0, 0.7)), is_expected=True)
UNEXPECTED = ObservedSentence(ActivationRecord(("One", " lion"), (0.0, 2.0)), is_expected=False)


def asked(*observed, explanation="animals"):
    return revision_body(explanation, [LOUD], observed)["messages"][-1]["content"]


def test_all_but_the_last_message_is_the_same_for_every_neuron():
    one = revision_body("animals", [LOUD], [RIGHT])
    other = revision_body("rivers", [UNEXPECTED.record], [])
    assert [message["role"] for message in one["messages"]] == ["system", "user"]
    assert json.dumps(one | {"messages": one["messages"][:-1]}) == json.dumps(
        other | {"messages": other["messages"][:-1]}
    )


def test_the_draft_what_it_was_written_from_and_what_came_of_the_trial_are_shown():
    assert asked(RIGHT, SILENT, UNEXPECTED).splitlines() == [
        *("Activations:", "<start>", " the\t0", " cat\t10", " sat\t5", "<end>"),
        "Explanation: animals",
        "Sentence 1: the neuron should fire, and its highest activation is 10.",
        *("<start>", "A\t0", " cat\t10", "<end>"),
        "Sentence 2: the neuron should fire, and its highest activation is 0.",
        "Text: A dog",
        "Sentence 3: the neuron should not fire, and its highest activation is 2.",
        *("<start>", "One\t0", " lion\t2", "<end>"),
        f'Explain the neuron. Begin with "{LEAD_IN}".',
    ]


def test_without_a_sentence_that_could_be_observed_the_question_can_still_be_asked():
    assert "Sentence" not in asked()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_explanation_keeps_to_its_line(text):
    assert asked(explanation=text).count("\n") == asked().count("\n")


@given(hostile_tokens)
def test_hostile_tokens_keep_to_their_lines(tokens):
    silent, firing = (ActivationRecord(tuple(tokens), (a,) * len(tokens)) for a in (0.0, 8.0))
    plain = [f"x{n}" for n in range(len(tokens))]
    for record in (silent, firing):
        likeness = ActivationRecord(tuple(plain), record.activations)
        found, right = (asked(ObservedSentence(r, is_expected=True)) for r in (record, likeness))
        assert found.count("\n") == right.count("\n")
