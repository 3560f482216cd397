import httpx
import pytest

from worker.api.calls import Call
from worker.api.endpoint import Price
from worker.api.responses import WrongTokenLimit, check, read_completion, retry_after
from worker.errors import (
    BadCredentials,
    NoCredit,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    UnknownModel,
)


def answer(status, message="no", code="x", **headers):
    body = {"error": {"message": message, "code": code}}
    return httpx.Response(status, json=body, headers=headers)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        pytest.param(answer(401), BadCredentials, id="401"),
        pytest.param(answer(403), BadCredentials, id="403"),
        pytest.param(answer(404, code="model_not_found"), UnknownModel, id="404"),
        pytest.param(answer(429, code="rate_limit_exceeded"), RateLimited, id="429"),
        pytest.param(answer(429, code="insufficient_quota"), NoCredit, id="429 quota"),
        pytest.param(answer(429, "You exceeded your current quota"), NoCredit, id="quota text"),
        pytest.param(answer(402), NoCredit, id="402"),
        pytest.param(answer(503, "server is overloaded"), RateLimited, id="503 overloaded"),
        pytest.param(answer(503), ServiceUnavailable, id="503"),
        pytest.param(answer(500), ServiceUnavailable, id="500"),
        pytest.param(answer(408), ServiceUnavailable, id="408"),
        pytest.param(answer(400, "context length"), RequestRejected, id="400"),
        pytest.param(answer(422), RequestRejected, id="422"),
        pytest.param(
            answer(400, "use max_completion_tokens instead"), WrongTokenLimit, id="token limit"
        ),
        pytest.param(httpx.Response(502, text="<html>"), ServiceUnavailable, id="no JSON"),
        pytest.param(httpx.Response(302), RequestRejected, id="redirect"),
    ],
)
def test_what_an_error_means(response, error):
    with pytest.raises(error):
        check(response, None)


def test_a_success_is_no_error():
    check(httpx.Response(200), None)


def test_a_key_that_the_server_repeats_is_taken_out():
    with pytest.raises(BadCredentials) as caught:
        check(answer(401, "Incorrect API key: sk-secret"), "sk-secret")
    assert "sk-secret" not in str(caught.value)
    assert "[key]" in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ratelimit-reset-requests": "120ms", "x-ratelimit-reset-tokens": "6m0s"}, 120),
        ({"x-ratelimit-reset-requests": "1s"}, 1),
        ({"x-ratelimit-reset-tokens": "1m1.5s"}, 61.5),
        ({"retry-after": "soon"}, 1),
        ({"retry-after": "nan"}, 1),
        ({}, 1),
    ],
)
def test_how_long_to_wait(headers, seconds):
    assert retry_after(httpx.Headers(headers)) == pytest.approx(seconds)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"choices": []}', b'{"choices": [{}]}'])
def test_a_body_that_is_no_completion_may_be_asked_again(body):
    with pytest.raises(ServiceUnavailable):
        read_completion(body)


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
