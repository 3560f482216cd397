import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurogloss.neurons.few_shot import EXAMPLES
from neurogloss.neurons.prompts import explanation_messages, visible
from neurogloss.neurons.records import ActivationRecord

HOSTILE = [
    "<start>",
    "<end>",
    "\t",
    "\n",
    "\t\t",
    "\r\n",
    "",
    "10",
    "unknown",
    "�",
    "<|endoftext|>",
]
QUIET = ActivationRecord(tuple("abcdefghij"), (0, 0, 0, 0, 0, 0, 0, 0, 0, 4.0))
LOUD = ActivationRecord(tuple("abcd"), (4.0, 3.0, 2.0, 1.0))


def test_all_but_the_last_message_is_the_same_for_every_neuron():
    one, other = explanation_messages([LOUD], 4.0), explanation_messages([QUIET], 8.0)
    assert json.dumps(one[:-1]) == json.dumps(other[:-1])
    assert one[-1] != other[-1]


def test_roles_alternate_after_the_system_message():
    roles = [message["role"] for message in explanation_messages([LOUD], 4.0)]
    assert roles == ["system", *["user", "assistant"] * len(EXAMPLES), "user"]


def test_activations_are_shown_normalized():
    shown = explanation_messages([LOUD], 4.0)[-1]["content"]
    assert "<start>\na\t10\nb\t7\nc\t5\nd\t2\n<end>" in shown


def test_few_activations_are_repeated_without_the_zeros():
    assert (
        "without the zeros:\n<start>\nj\t10\n<end>"
        in explanation_messages([QUIET], 4.0)[-1]["content"]
    )


def test_many_activations_are_not_repeated():
    assert "without the zeros" not in explanation_messages([LOUD], 4.0)[-1]["content"]


@pytest.mark.parametrize("token", HOSTILE)
def test_a_hostile_token_keeps_to_its_line(token):
    record = ActivationRecord(("a", token, "b"), (4.0, 2.0, 1.0))
    lines = explanation_messages([record], 4.0)[-1]["content"].splitlines()
    start = lines.index("<start>")
    assert lines[start + 4] == "<end>"
    assert [line.rsplit("\t", 1)[1] for line in lines[start + 1 : start + 4]] == ["10", "5", "2"]


@given(st.lists(st.text(max_size=4), min_size=2, max_size=2, unique=True))
def test_different_tokens_look_different(tokens):
    assert visible(tokens[0]) != visible(tokens[1])
