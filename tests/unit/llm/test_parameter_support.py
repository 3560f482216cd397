import pytest

from neurogloss.errors import RequestRejected, UnsuitableModel
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


def test_a_strict_schema_becomes_a_plain_one_and_then_none():
    schema = {"type": "object"}
    strict = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    support, body = ParameterSupport(), {"response_format": strict}
    for _ in range(2):  # both were under way
        support.record_refusal(refusal("response_format"), body, "m")
    assert support.adapt(body) == {"response_format": {"type": "json_object", "schema": schema}}
    support.record_refusal(refusal("response_format"), support.adapt(body), "m")
    assert support.adapt(body) == {}
