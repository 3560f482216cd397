import dataclasses
import pickle

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurogloss.errors import (
    BadCredentials,
    Incomplete,
    NeuroglossError,
    NoCredit,
    OnlyReasoned,
    RateLimited,
    RequestRejected,
    RunError,
    ServiceUnavailable,
    UnknownModel,
)
from neurogloss.llm.calls import Call
from neurogloss.llm.endpoint import Endpoint, Price
from neurogloss.llm.responses import (
    UnsupportedParameter,
    raise_for_error,
    read_completion,
)
from neurogloss.llm.retry_after import retry_after
from neurogloss.llm.server_error import said_in
from tests.support.hostile_text import json_values


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
        pytest.param(httpx.Response(502, text="<html>"), ServiceUnavailable, id="no JSON"),
        pytest.param(httpx.Response(302), UnknownModel, id="redirect"),
    ],
)
def test_what_an_error_means(response, error):
    with pytest.raises(error):
        raise_for_error(response, None)


@pytest.mark.parametrize(
    ("status", "error", "parameter"),
    [
        (
            400,
            {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                "param": "max_tokens",
                "code": "unsupported_parameter",
            },
            "max_tokens",
        ),
        (
            400,
            {
                "message": "Unsupported value: 'temperature' does not support 0.0 with this model. "
                "Only the default (1) value is supported.",
                "param": "temperature",
                "code": "unsupported_value",
            },
            "temperature",
        ),
        (403, {"message": "You are not allowed to request logprobs from this model"}, "logprobs"),
        (
            400,
            {"message": "Setting 'echo' and 'logprobs' is not supported for this model."},
            "echo",
        ),
        (
            400,
            {
                "message": "response_format.json_schema is not supported",
                "param": "response_format.type",
            },
            "response_format",
        ),
        (422, {"message": "extra_forbidden: ('body', 'prompt_logprobs')"}, "prompt_logprobs"),
    ],
)
def test_a_parameter_that_is_refused_is_named(status, error, parameter):
    with pytest.raises(UnsupportedParameter) as caught:
        raise_for_error(httpx.Response(status, json={"error": error}), None)
    assert caught.value.parameter == parameter
    assert pickle.loads(pickle.dumps(caught.value)).parameter == parameter


def test_a_value_that_is_too_large_is_no_parameter_that_is_refused():
    message = "Invalid value for 'logprobs': must be less than or equal to 5."
    with pytest.raises(RequestRejected):
        raise_for_error(answer(400, message, code="integer_above_max_value"), None)


def test_a_success_is_no_error():
    raise_for_error(httpx.Response(200), None)


def test_a_key_that_the_server_repeats_is_taken_out():
    with pytest.raises(BadCredentials) as caught:
        raise_for_error(answer(401, "Incorrect API key: sk-secret"), "sk-secret")
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
        ({"retry-after": "Fri, 27 Nov 2026 12:00:12 GMT"}, 12),
        ({"retry-after": "2026-11-27T12:00:12Z"}, 12),
        ({"retry-after": "2026-11-27T13:00:12+01:00"}, 12),
        ({"retry-after": "1795780812"}, 12),
        ({"retry-after": "1795780812000"}, 12),
        ({"retry-after": "Fri, 27 Nov 2026 11:00:00 GMT"}, 1),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 120),
        ({"retry-after": "0"}, 0.1),
        ({"retry-after": "-5"}, 1),
        ({"retry-after": "inf"}, 1),
        ({"retry-after": "9" * 400}, 1),
        ({"retry-after": "1e300"}, 1),
        ({"retry-after": "86400"}, 120),
        ({"retry-after": "5", "x-ratelimit-reset": "60"}, 5),
        ({"x-ratelimit-reset": "1795780812000"}, 12),
        ({"ratelimit-reset": "30"}, 30),
        ({"anthropic-ratelimit-input-tokens-reset": "2026-11-27T12:00:30Z"}, 30),
        (
            {
                "anthropic-ratelimit-requests-reset": "2026-11-27T12:00:05Z",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-27T12:01:00Z",
                "anthropic-ratelimit-tokens-remaining": "900",
            },
            5,
        ),
        ({"retry-after": "soon"}, 1),
        ({"retry-after": "nan"}, 1),
        ({}, 1),
    ],
)
def test_how_long_to_wait(headers, seconds):
    date = {"date": "Fri, 27 Nov 2026 12:00:00 GMT"}
    assert retry_after(httpx.Headers({**date, **headers})) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"error": {"message": "Please retry in 12.3s."}}, 12.3),
        ({"error": {"message": "Limit 3, used 3. Please try again in 20s. Visit us"}}, 20),
        ({"error": {"message": "Please try again in 1m30.002s."}}, 90.002),
        ({"error": {"message": "Please try again in 120ms"}}, 0.12),
        ({"error": {"message": "Please retry after 86400 seconds."}}, 120),
        ({"detail": "Too many requests, wait 2 minutes and 5 seconds"}, 120),
        ({"error": {"message": "Wait 1 min, 5 secs"}}, 65),
        ([{"error": {"details": [{"@type": "RetryInfo", "retryDelay": "12s"}]}}], 12),
        ({"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1795780812000"}}}}, 12),
        ({"error": {"retry_after": 7}}, 7),
        ({"error": {"message": "try again in " + "9" * 400 + "s"}}, 1),
        ({"error": {"message": "try again in five minutes"}}, 1),
        ({"error": {"retry_after": True, "retry_after_ms": [None]}}, 1),
    ],
)
def test_a_wait_may_be_named_in_the_body(body, seconds):
    date = httpx.Headers({"date": "Fri, 27 Nov 2026 12:00:00 GMT"})
    assert retry_after(date, said_in(body, 429)) == pytest.approx(seconds)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"choices": []}', b'{"choices": [{}]}'])
def test_a_body_that_is_no_completion_may_be_asked_again(body):
    with pytest.raises(ServiceUnavailable):
        read_completion(body)


def content_of(text, **choice):
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop", **choice}]}


def test_a_content_that_is_a_list_of_parts_is_joined_without_the_reasoning():
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Rain, snow."}]}
    parts = [thought, {"type": "text", "text": "weather"}, {"text": " words"}, "."]
    assert read_completion(orjson.dumps(content_of(parts))).text == "weather words."


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + orjson.dumps(content_of("rain")), id="byte order mark"),
        pytest.param(orjson.dumps(content_of("rain"))[:-1] + b', "x": NaN}', id="NaN"),
        pytest.param(orjson.dumps(content_of("rain"))[:-1] + b', "x": [-Infinity]}', id="Infinity"),
        pytest.param(b' \n {"x": "\xff",' + orjson.dumps(content_of("rain"))[1:], id="no UTF-8"),
        pytest.param(
            b'{"x": 1' + b"0" * 400 + b"," + orjson.dumps(content_of("rain"))[1:], id="1e400"
        ),
        pytest.param(
            b'{"usage": {"prompt_tokens": NaN, "completion_tokens": 1e999},'
            + orjson.dumps(content_of("rain"))[1:],
            id="usage that is no number",
        ),
        pytest.param(
            orjson.dumps(content_of("rain", logprobs={"content": [{"token": 5}]})), id="logprobs"
        ),
    ],
)
def test_what_strict_parsers_refuse_is_read_once(content):
    assert read_completion(content).text == "rain"


def test_half_a_surrogate_pair_becomes_a_replacement_character():
    content = rb'{"choices": [{"message": {"content": "a\ud83d b\ud83d\ude00"}}]}'
    assert read_completion(content).text == "a\ufffd b\N{GRINNING FACE}"


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource", {"a": 1}, ""])
def test_an_answer_that_is_not_whole_is_paid_once_and_is_none(reason):
    completion = read_completion(orjson.dumps(content_of("half of", finish_reason=reason)))
    outcome = stored(completion).outcome()
    assert isinstance(outcome, Incomplete)
    assert outcome.failure_class == "incomplete"
    assert stored(completion).usd == 0 < stored(completion).wasted_usd


@pytest.mark.parametrize("reason", ["stop", "STOP", "eos", "end_turn", None])
def test_an_answer_that_is_whole_is_one(reason):
    completion = read_completion(orjson.dumps(content_of("words", finish_reason=reason)))
    assert stored(completion).outcome() == stored(completion)
    assert stored(completion).wasted_usd == 0


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_limit_that_reasoning_used_up_has_a_class_of_its_own(content):
    body = content_of(content, finish_reason="length")
    body["choices"][0]["message"]["reasoning_content"] = "Let me think"
    body["usage"] = {"completion_tokens": 60}
    outcome = stored(read_completion(orjson.dumps(body))).outcome()
    assert isinstance(outcome, OnlyReasoned)
    assert (outcome.failure_class, "all 60 tokens" in outcome.reason) == ("reasoning", True)


def stored(completion):
    price = Price(input=1.0, output=1.0)
    return dataclasses.replace(completion, prompt_tokens=100).answer(
        identity=b"",
        purpose="explain",
        endpoint=Endpoint(name="e", base_url="http://e", prices={"m": price}),
        model="m",
        attempts=1,
        latency_ms=1,
        request_id=None,
    )


def test_a_success_that_is_an_error_is_raised_with_its_meaning():
    for code, error in ((402, NoCredit), (429, RateLimited), (401, BadCredentials)):
        body = {"error": {"message": "no", "code": code}}
        with pytest.raises(error):
            raise_for_error(httpx.Response(200, json=body), None)
        broken = content_of("half of", finish_reason="error", error={"message": "x", "code": code})
        with pytest.raises(error):
            read_completion(orjson.dumps(broken))
        with pytest.raises(error):
            read_completion(orjson.dumps(content_of("half of") | body))


def test_an_answer_about_errors_is_none():
    body = content_of('the word "error" in JSON: {"error": 5}') | {"error": None}
    raise_for_error(httpx.Response(200, json=body), None)
    assert "error" in read_completion(orjson.dumps(body)).text


def chat(**choice):
    return orjson.dumps({"choices": [{"message": {"content": "3"}, **choice}]})


def test_an_answer_of_the_one_token_that_was_asked_for_is_whole():
    cut = chat(finish_reason="length")
    assert read_completion(cut, {"max_tokens": 60}).finish_reason == "length"
    assert read_completion(cut, {"max_tokens": 1}).finish_reason == "stop"
    assert read_completion(cut, {"max_completion_tokens": 1}).finish_reason == "stop"


def test_an_echo_is_not_stored():
    body = orjson.dumps({"choices": [{"text": "a\tunknown\n<end>\n"}]})
    asked = {"prompt": "a\tunknown\n<end>", "echo": True}
    assert read_completion(body, asked).text == "\n"
    assert read_completion(body, asked).distributions is None


def test_what_the_database_does_not_take_is_not_handed_to_it():
    content = orjson.dumps(
        {
            "choices": [{"message": {"content": "a\0b"}}],
            "usage": {"prompt_tokens": 2**40, "completion_tokens": -5},
        }
    )
    found = read_completion(content)
    assert (found.text, found.prompt_tokens, found.completion_tokens) == ("a\ufffdb", 2**31 - 1, 0)


@pytest.mark.parametrize("content", [[{"type": "text"}], [5], {"text": "x"}, 5])
def test_a_message_that_is_no_text_may_be_asked_again(content):
    with pytest.raises(ServiceUnavailable):
        read_completion(orjson.dumps({"choices": [{"message": {"content": content}}]}))


ASKED = ({}, {"prompt": "a\tunknown\n", "echo": True}, {"prompt": "a\tunknown\n"})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_response_is_read_or_may_be_asked_again(data):
    choice = {
        "message": data.draw(st.one_of(json_values, st.just({"content": "3"}))),
        "text": data.draw(json_values),
        "finish_reason": data.draw(json_values),
        "logprobs": data.draw(
            st.one_of(
                json_values,
                st.fixed_dictionaries({"content": json_values}),
                st.fixed_dictionaries({"tokens": json_values, "top_logprobs": json_values}),
            )
        ),
        "prompt_logprobs": data.draw(json_values),
    }
    body = {"choices": [choice], "usage": data.draw(json_values)}
    content = data.draw(st.one_of(st.binary(max_size=40), st.just(dumps(body))))
    try:
        found = read_completion(content, data.draw(st.sampled_from(ASKED)))
    except (ServiceUnavailable, RunError):
        return
    assert isinstance(found.text, str)
    assert found.distributions is None or len(found.distributions) % 26 == 0


def dumps(value):
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):
        return b"{"


SECRET = 'sk-proj/0123+456789"abcdef'
SECRET_FORMS = {
    "as it is": SECRET,
    "in JSON": orjson.dumps(SECRET).decode()[1:-1],
    "percent-encoded": "sk-proj%2F0123%2B456789%22abcdef",
    "in base64": "c2stcHJvai8wMTIzKzQ1Njc4OSJhYmNkZWY=",
}


def error_of(response):
    with pytest.raises(NeuroglossError) as raised:
        raise_for_error(response, SECRET)
    return f"{raised.value} {getattr(raised.value, 'request_id', '')}"


@pytest.mark.parametrize("form", SECRET_FORMS.values(), ids=SECRET_FORMS)
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_a_key_that_a_server_repeats_is_in_no_error(status, form):
    for before in ("", "x" * 295):  # a key that is cut off is a key too
        message = f"{before} Authorization: Bearer {form}"
        shown = [
            error_of(answer(status, message)),
            error_of(answer(status, code=message)),
            error_of(httpx.Response(status, text=message)),
            error_of(answer(status, **{"x-request-id": form})),
        ]
        assert not any("sk-pr" in text or "c2stc" in text for text in shown), shown


def test_a_key_that_a_server_repeats_is_in_no_part_of_an_answer_that_messages_quote():
    for content in (b"Bearer " + SECRET.encode(), b"{" + b"x" * 70 + SECRET.encode()):
        with pytest.raises(ServiceUnavailable) as raised:
            read_completion(content, None, SECRET)
        assert "sk-pr" not in str(raised.value)
    message = {"content": f"You sent {SECRET}.", "refusal": f"I refuse {SECRET}."}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    completion = read_completion(orjson.dumps(body), None, SECRET)
    assert completion.text == "You sent [key]."
    assert completion.refusal == "I refuse [key]."


def test_a_word_that_serves_as_a_key_stays_in_the_text_of_an_answer():
    body = {"choices": [{"message": {"content": "EMPTY boxes"}, "finish_reason": "stop"}]}
    assert read_completion(orjson.dumps(body), None, "EMPTY").text == "EMPTY boxes"


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
