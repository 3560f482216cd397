import dataclasses
import json
import pickle

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurogloss.errors import (
    BadCredentials,
    Incomplete,
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
from tests.support.error_response import answer
from tests.support.hostile_text import json_values


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
        pytest.param(json.dumps(content_of("rain")).encode("utf-16"), id="UTF-16"),
        pytest.param(orjson.dumps(content_of("rain") | {"usage": "free"}), id="usage is a text"),
        pytest.param(orjson.dumps(content_of([None, {"text": "rain"}])), id="a part is null"),
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


def test_an_answer_in_latin_1_keeps_its_letters():
    content = json.dumps(content_of("caf\xe9s"), ensure_ascii=False).encode("latin-1")
    assert read_completion(content).text == "caf\xe9s"


def test_a_line_break_within_a_text_is_read():
    content = orjson.dumps(content_of("rain and snow")).replace(b" and ", b"\n")
    assert read_completion(content).text == "rain\nsnow"


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": "9", "completion_tokens": 4.2}, (9, 0, 4)),
        ({"input_tokens": 9, "output_tokens": 4}, (9, 0, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 113}, (9, 0, 104)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 1}, (9, 0, 4)),
        ({"total_tokens": 13}, (0, 0, 0)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 5}, (9, 5, 0)),
        ({"prompt_tokens": 9, "prompt_tokens_details": "none"}, (9, 0, 0)),
        ({"prompt_tokens": True, "completion_tokens": [1]}, (1, 0, 0)),
        ([], (0, 0, 0)),
        (5, (0, 0, 0)),
    ],
)
def test_usage_is_read_as_servers_write_it(usage, counts):
    found = read_completion(orjson.dumps(content_of("rain") | {"usage": usage}))
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == counts


def test_an_answer_that_nobody_counted_is_counted_by_its_texts():
    call = Call("explain", "m", {"messages": [{"role": "user", "content": "x" * 400}]})
    uncounted = read_completion(orjson.dumps(content_of("twelve chars")))
    counted = uncounted.counted(call)
    assert (counted.prompt_tokens, counted.completion_tokens) == (100, 3)
    assert counted.counted(Call("explain", "m", {})) == counted


@pytest.mark.parametrize("reason", ["stop", "STOP", "eos", "end_turn", "FinishReason.STOP", None])
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


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        pytest.param(
            {"completion_tokens": 90, "total_tokens": 100}, 90, id="with what was thought"
        ),
        pytest.param({"completion_tokens": 20, "total_tokens": 100}, 90, id="thought beside it"),
        pytest.param({"completion_tokens": 20}, 20, id="no total"),
        pytest.param({"completion_tokens": 20, "total_tokens": 5}, 20, id="a total that is wrong"),
        pytest.param({"completion_tokens": 20, "total_tokens": "x"}, 20, id="no number"),
    ],
)
def test_what_was_thought_counts_as_a_part_of_the_answer(usage, tokens):
    body = content_of("words") | {"usage": {"prompt_tokens": 10, **usage}}
    assert read_completion(orjson.dumps(body)).completion_tokens == tokens


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
