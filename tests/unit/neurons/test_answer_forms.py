"""The forms in which the activations of one text are asked for, and read."""

import json

import pytest

from neurogloss.config.run import RunConfig
from neurogloss.errors import Malformed
from neurogloss.neurons.simulators.answer_forms import FORMS
from neurogloss.neurons.simulators.base import ModelReply
from neurogloss.neurons.simulators.json_simulator import json_messages, response_format
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of

TOKENS = [" From", " the", " Rhine", "\n", ' "x"']


@pytest.mark.parametrize("form", FORMS)
def test_what_the_examples_of_a_form_show_is_read_as_what_they_say(form):
    bare = json_messages("rivers", [TOKENS])
    messages = json_messages("rivers", [TOKENS], form=form)
    questions = [m["content"] for m in messages[1::2]]
    assert questions == [m["content"] for m in bare[1::2]]  # only the answers differ
    for of_form, of_bare in zip(messages[2::2], bare[2::2], strict=True):
        expected = list(json.loads(of_bare["content"]).values())
        assert FORMS[form].read(of_form["content"], len(expected)).tolist() == expected


@pytest.mark.parametrize("form", FORMS)
def test_the_format_of_a_form_depends_on_the_length_alone(form):
    simulator = simulator_of(SimulatorChoice("json"), 1, form)
    asked = [simulator.ask(*about)[0].body for about in (("a", [TOKENS]), ("b", [TOKENS[::-1]]))]
    assert asked[0]["response_format"] == asked[1]["response_format"]
    assert asked[0]["response_format"] == response_format((len(TOKENS),), form=form)


def test_an_array_has_as_many_values_as_the_text_has_tokens():
    schema = response_format((5,), form="array")["json_schema"]["schema"]
    array = schema["properties"]["activations"]
    assert (array["minItems"], array["maxItems"]) == (5, 5)
    simulator = simulator_of(SimulatorChoice("json"), 1, "array")
    reply = ModelReply('{"activations": [0, 0, 9, 0, 10]}')
    (found,) = simulator.read("rivers", [TOKENS], [reply])
    assert found.expected.tolist() == [0, 0, 9, 0, 10]
    with pytest.raises(Malformed, match="4 values for 5 tokens"):
        simulator.read("rivers", [TOKENS], [ModelReply('{"activations": [0, 0, 9, 0]}')])


def test_keys_with_tokens_are_read_by_their_number():
    read = FORMS["tokens"].read
    assert read('{"1:  b": 3, "0: a: x": 1}', 2).tolist() == [1, 3]
    assert read('{"0": 1, "1": 3}', 2).tolist() == [1, 3]
    for wrong in ('{"0: a": 1, "0: b": 2}', '{"a": 1, "b": 2}', '{"0: a": 1}', "{}", "no"):
        with pytest.raises(Malformed):
            read(wrong, 2)


@pytest.mark.parametrize("simulator", [{"kind": "auto"}, {"kind": "json", "records_per_call": 2}])
def test_a_form_is_for_one_record_in_json(simulator):
    values = {"simulator": {"endpoint": "e", "answer_form": "array", **simulator}}
    with pytest.raises(ValueError, match="answer_form = 'array' needs"):
        RunConfig.model_validate({"name": "x", **values})
