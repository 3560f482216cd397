import pytest

from worker.api.dialect import Dialect
from worker.api.responses import UnsupportedParameter
from worker.errors import RequestRejected, UnsuitableModel

BODY = {"model": "m", "max_tokens": 60, "temperature": 0.0, "logprobs": True}


def refusal(parameter):
    return UnsupportedParameter(parameter, f"no {parameter}")


def test_a_refused_parameter_is_renamed_or_left_out():
    dialect = Dialect()
    assert dialect.adapt(BODY) == BODY
    dialect.learn(refusal("max_tokens"), BODY, "m")
    dialect.learn(refusal("temperature"), BODY, "m")
    adapted = {"model": "m", "max_completion_tokens": 60, "logprobs": True}
    assert dialect.adapt(BODY) == adapted
    assert list(dialect.adapt(BODY)) == list(adapted)


def test_calls_that_were_under_way_may_all_be_refused_the_same():
    dialect = Dialect()
    for _ in range(3):
        dialect.learn(refusal("max_tokens"), BODY, "m")


def test_a_parameter_that_is_refused_though_it_was_not_sent_fails_the_call():
    dialect = Dialect()
    dialect.learn(refusal("max_tokens"), BODY, "m")
    with pytest.raises(RequestRejected):
        dialect.learn(refusal("max_tokens"), dialect.adapt(BODY), "m")


def test_a_parameter_that_the_run_depends_on_ends_it():
    with pytest.raises(UnsuitableModel, match="m does not take logprobs"):
        Dialect().learn(refusal("logprobs"), BODY, "m")
