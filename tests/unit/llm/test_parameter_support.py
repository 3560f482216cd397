from itertools import pairwise

import pytest

from neurogloss.errors import ContextExceeded, RequestRejected, UnsuitableModel
from neurogloss.llm.parameter_support import ParameterSupport
from neurogloss.llm.responses import UnsupportedParameter

BODY = {"model": "m", "max_tokens": 60, "temperature": 0.0, "logprobs": True}


def refusal(parameter):
    return UnsupportedParameter(parameter, f"no {parameter}")


def test_a_refused_parameter_is_renamed_or_left_out():
    support = ParameterSupport()
    assert support.adapt(BODY) == BODY
    support.record_refusal(refusal("max_tokens"), BODY, "m")
    support.record_refusal(refusal("temperature"), BODY, "m")
    adapted = {"model": "m", "max_completion_tokens": 60, "logprobs": True}
    assert support.adapt(BODY) == adapted
    assert list(support.adapt(BODY)) == list(adapted)


def test_calls_that_were_under_way_may_all_be_refused_the_same():
    support = ParameterSupport()
    for _ in range(3):
        support.record_refusal(refusal("max_tokens"), BODY, "m")


def test_a_parameter_that_is_refused_though_it_was_not_sent_fails_the_call():
    support = ParameterSupport()
    support.record_refusal(refusal("max_tokens"), BODY, "m")
    with pytest.raises(RequestRejected):
        support.record_refusal(refusal("max_tokens"), support.adapt(BODY), "m")


def test_a_parameter_that_the_run_depends_on_ends_it():
    with pytest.raises(UnsuitableModel, match="m does not take logprobs"):
        ParameterSupport().record_refusal(refusal("logprobs"), BODY, "m")


SCHEMA = {
    "type": "object",
    "properties": {"0": {"$ref": "#/$defs/tokens1"}},
    "required": ["0"],
    "additionalProperties": False,
    "$defs": {
        "tokens1": {
            "type": "object",
            "properties": {"0": {"type": "integer", "enum": [0, 1]}},
            "required": ["0"],
            "additionalProperties": False,
        }
    },
}
STRICT = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
INNER = {"type": "object", "properties": {"0": {"type": "integer"}}, "required": ["0"]}
SIMPLE = {"type": "object", "properties": {"0": INNER}, "required": ["0"]}
LADDER = [
    {"type": "json_schema", "json_schema": {"name": "answer", "schema": SIMPLE}},
    {"type": "json_object", "schema": SCHEMA},
    {"type": "json_object"},
    None,
]


def test_a_format_is_asked_for_less_and_less_strictly():
    support, body = ParameterSupport(), {"response_format": STRICT}
    for step in LADDER:
        sent = support.adapt(body)
        for _ in range(2):  # both were under way
            support.record_refusal(refusal("response_format"), sent, "m")
        assert support.adapt(body) == ({} if step is None else {"response_format": step})


def test_a_body_that_was_adapted_is_adapted_further_by_one_who_knows_nothing_else():
    for sent, step in pairwise(LADDER[:-1]):
        support, body = ParameterSupport(), {"response_format": sent}
        support.record_refusal(refusal("response_format"), body, "m")
        lower = support.adapt(body)["response_format"]
        assert lower["type"] == step["type"]


def test_a_rejection_in_words_that_name_nothing_is_tried_down_the_ladder():
    support, body = ParameterSupport(), {"model": "m", "response_format": STRICT}
    trial = support.trial("m")
    for step in LADDER[:-1]:
        trial.refused(RequestRejected("Bad Request"), trial.body(body))
        assert trial.body(body) == {"model": "m", "response_format": step}
    assert support.refused == set()
    trial.accepted(trial.body(body))
    assert support.trial("m").body(body) == trial.body(body)


def test_a_call_that_is_rejected_in_every_form_leaves_the_format_to_the_others():
    support, body = ParameterSupport(), {"response_format": STRICT}
    trial = support.trial("m")
    with pytest.raises(RequestRejected, match="first"):
        for reason in ("first", "second", "third", "fourth", "fifth", "sixth"):
            trial.refused(RequestRejected(reason), trial.body(body))
    assert support.refused == set()


def test_a_question_that_is_too_long_is_not_tried_in_other_forms():
    with pytest.raises(ContextExceeded):
        ParameterSupport().trial("m").refused(ContextExceeded("x"), {"response_format": STRICT})


def test_a_format_that_the_model_took_before_is_not_suspected():
    support, body = ParameterSupport(), {"response_format": STRICT}
    support.trial("m").accepted(body)
    with pytest.raises(RequestRejected):
        support.trial("m").refused(RequestRejected("Bad Request"), body)
