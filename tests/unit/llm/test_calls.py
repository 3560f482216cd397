"""What calls cost, and what identifies them."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurogloss.llm.calls import Call
from neurogloss.llm.endpoint import Price
from neurogloss.llm.responses import read_completion

CACHED_ABOVE_PROMPT = {
    "choices": [{"message": {"content": "waves"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 1_000_000},
        "completion_tokens": 2,
    },
}


def test_cached_tokens_above_prompt_tokens_do_not_make_a_cost_negative():
    completion = read_completion(orjson.dumps(CACHED_ABOVE_PROMPT))
    assert (completion.prompt_tokens, completion.cached_tokens) == (10, 10)
    price = Price(input=1.0, cached_input=0.5, output=2.0)
    assert price.cost(10, 1_000_000, 0) == price.cost(10, 10, 0) == pytest.approx(5e-6)


@given(counts=st.tuples(*[st.integers(-(2**40), 2**40)] * 3))
def test_no_counts_make_a_cost_negative(counts):
    assert Price(input=1.0, cached_input=0.1, output=2.0).cost(*counts) >= 0


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_a_price_that_is_negative_or_not_finite_is_refused(wrong):
    for name in ("input", "output", "cached_input"):
        with pytest.raises(ValueError, match="prices must be finite and not negative"):
            Price(**{"input": 1.0, "output": 1.0, name: wrong})


def test_cached_tokens_have_a_price_of_their_own():
    price = Price(input=1.0, cached_input=0.5, output=2.0)
    assert price.cost(1_000_000, 400_000, 500_000) == pytest.approx(0.6 + 0.2 + 1.0)
    assert Price(input=1.0, output=2.0).cost(1_000_000, 400_000, 0) == pytest.approx(1.0)


def call(**changes):
    body = {"model": "m", "messages": [], "max_tokens": 60, **changes.pop("body", {})}
    return Call(**{"purpose": "explain", "model": "m", "body": body, **changes})


def test_the_identity_is_that_of_the_question():
    assert call().identity("http://a/v1") == call(purpose="other").identity("http://a/v1/")


@pytest.mark.parametrize(
    "other", [call(body={"seed": 1}), call(sample=1), call(path="/completions")], ids=str
)
def test_whatever_changes_the_answer_changes_the_identity(other):
    assert call().identity("http://a") != other.identity("http://a")
    assert call().identity("http://a") != call().identity("http://b")
