import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import Malformed
from worker.neurons.few_shot import EXAMPLES
from worker.neurons.prompts import (
    LEAD_IN,
    clean_explanation,
    explanation_messages,
    simulation_messages,
    simulation_response_format,
    visible,
)
from worker.neurons.records import ActivationRecord
from worker.neurons.simulation import parse_simulation

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
    for one, other in (
        (explanation_messages([LOUD], 4.0), explanation_messages([QUIET], 8.0)),
        (simulation_messages("rivers", ["x"]), simulation_messages("heat", ["y", "z"])),
    ):
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


@pytest.mark.parametrize("token", HOSTILE)
def test_a_hostile_token_keeps_its_number_in_a_simulation(token):
    shown = simulation_messages("x", ["a", token, "b"])[-1]["content"].split("Tokens:\n")[1]
    assert [line.split(": ")[0].rstrip(":") for line in shown.split("\n")] == ["0", "1", "2"]


@given(st.lists(st.text(max_size=4), min_size=2, max_size=2, unique=True))
def test_different_tokens_look_different(tokens):
    assert visible(tokens[0]) != visible(tokens[1])


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (f" {LEAD_IN} names of rivers.", "names of rivers"),
        ('"names of rivers"', "names of rivers"),
        ("Explanation: names of rivers", "names of rivers"),
        ("1. names of rivers\n2. other things", "names of rivers"),
        (f"{LEAD_IN}: {LEAD_IN} rivers", "rivers"),
        ("  \n ", ""),
        (LEAD_IN + ".", ""),
    ],
)
def test_clean_explanation(raw, clean):
    assert clean_explanation(raw) == clean


@given(st.text(max_size=60))
def test_cleaning_twice_changes_nothing(text):
    assert clean_explanation(clean_explanation(text)) == clean_explanation(text)


def test_the_schema_has_one_integer_from_0_to_10_for_every_position():
    schema = simulation_response_format(64)["json_schema"]["schema"]
    assert schema["required"] == [str(n) for n in range(64)] == list(schema["properties"])
    assert {tuple(v["enum"]) for v in schema["properties"].values()} == {tuple(range(11))}
    assert schema["additionalProperties"] is False


def test_the_schema_is_the_same_bytes_for_every_record_of_a_length():
    assert json.dumps(simulation_response_format(8)) == json.dumps(simulation_response_format(8))


def test_the_examples_answer_as_the_schema_asks():
    for message in simulation_messages("x", ["y"])[2:-1:2]:
        values = json.loads(message["content"])
        assert parse_simulation(message["content"], len(values)).max() > 0


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=70))
def test_a_simulation_is_read_as_it_was_written(values):
    text = json.dumps({str(n): v for n, v in enumerate(values)})
    assert parse_simulation(text, len(values)).tolist() == values
    assert parse_simulation(f"```json\n{text}\n```", len(values)).tolist() == values
    assert parse_simulation(json.dumps(values), len(values)).tolist() == values


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"0": 1, "1": 2', "no JSON"),
        ("", "no JSON"),
        ("I cannot do that", "no JSON"),
        ('{"0": 1}', "lacks 1 positions, first 1"),
        ('{"0": 1, "1": 2, "2": 3}', "not asked"),
        ('{"0": 1, "1": 11}', "not between 0 and 10"),
        ('{"0": 1, "1": -1}', "not between 0 and 10"),
        ('{"0": 1, "1": null}', "no number"),
        ('{"0": 1, "1": true}', "no number"),
        ('{"0": 1, "1": NaN}', "no JSON"),
        ('{"0": 1, "1": "many"}', "position 1 is 'many'"),
        ("[1, 2, 3]", "3 values for 2 tokens"),
        ('"text"', "no object"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_what_cannot_be_read_is_an_error_and_never_a_zero(text, reason):
    with pytest.raises(Malformed, match=reason):
        parse_simulation(text, 2)


@settings(max_examples=200)
@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse_simulation(text, 2)
    except Malformed:
        return
    assert found.shape == (2,)
    assert ((found >= 0) & (found <= 10)).all()
