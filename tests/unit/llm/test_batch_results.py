import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurogloss.errors import (
    BadCredentials,
    NoCredit,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
)
from neurogloss.llm.batch_client import request_line
from neurogloss.llm.batch_results import read_result
from neurogloss.llm.responses import Completion, UnsupportedParameter

COMPLETION = {
    "choices": [{"message": {"content": "waves"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2},
}


def line(status=200, body=COMPLETION, **more):
    response = {"status_code": status, "request_id": "r1", "body": body}
    return orjson.dumps({"custom_id": "0a", "response": response, "error": None, **more})


def error(message, code=None):
    return {"error": {"message": message, "code": code}}


def test_an_answer_is_read_as_online():
    found = read_result(line())
    assert (found.identity, found.request_id) == (b"\x0a", "r1")
    assert isinstance(reading := found.outcome({}, None), Completion)
    assert (reading.text, reading.prompt_tokens) == ("waves", 9)


def test_cached_tokens_of_a_line_are_not_above_its_prompt_tokens():
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5000}}
    completion = read_result(line(body=COMPLETION | {"usage": usage})).outcome({}, None)
    assert (completion.prompt_tokens, completion.cached_tokens) == (9, 9)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error("bad"), RequestRejected),
        (
            400,
            error("Unsupported parameter: 'max_tokens', use 'max_completion_tokens'"),
            UnsupportedParameter,
        ),
        (401, error("no key"), BadCredentials),
        (429, error("slow", "rate_limit_exceeded"), RateLimited),
        (429, error("spent", "insufficient_quota"), NoCredit),
        (500, {}, ServiceUnavailable),
        (0, None, ServiceUnavailable),
        (None, None, ServiceUnavailable),
        (200, {"choices": []}, ServiceUnavailable),
        (200, None, ServiceUnavailable),
    ],
)
def test_an_error_of_a_line_is_of_the_class_that_it_is_online(status, body, kind):
    assert isinstance(read_result(line(status, body)).outcome({}, None), kind)


def test_what_was_not_tried_is_no_error():
    for code in ("batch_expired", "batch_cancelled"):
        row = line(response=None, error={"code": code, "message": "late"})
        assert read_result(row).outcome({}, None) is None
    row = line(response=None, error={"code": "other", "message": "?"})
    assert read_result(row).outcome({}, None) is not None


def test_a_key_that_a_line_repeats_is_not_in_the_message():
    found = read_result(line(400, error("the key sk-abc is odd")))
    assert "sk-abc" not in str(found.outcome({}, "sk-abc"))


def test_a_key_that_a_line_repeats_outside_of_its_response_is_not_in_what_is_stored():
    secret = "sk-0123456789abcdef"
    row = line(response=None, error={"code": "x", "message": f"{'y' * 290} {secret}"}, id=secret)
    result = read_result(row, secret)
    assert "sk-0" not in f"{result.outcome({}, secret)} {result.request_id}"
    refused = {"choices": [{"message": {"refusal": f"not {secret}"}, "finish_reason": "stop"}]}
    assert read_result(line(body=refused)).outcome({}, secret).refusal == "not [key]"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 600) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["custom_id", "response", "status_code", "body", "error", "code", "choices",
                         "message", "content", "usage", "request_id", "id"]), inner, max_size=4),
)  # fmt: skip


@given(row=st.dictionaries(st.sampled_from(["response", "error", "id"]), values))
def test_no_line_however_odd_raises(row):
    outcome = read_result(orjson.dumps({"custom_id": "0a", **row})).outcome({}, None)
    assert not isinstance(outcome, Completion) or isinstance(outcome.text, str)


@given(content=st.binary(max_size=60))
def test_what_is_no_line_is_passed_over(content):
    assert read_result(content) is None


def test_a_request_line_keeps_the_body_as_it_is():
    body = b'{"b":1,"a":2}'
    made = request_line(b"\x0a\xff", "/chat/completions", body)
    assert body in made
    assert made.endswith(b"\n")
    assert orjson.loads(made) == {
        "custom_id": "0aff",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"b": 1, "a": 2},
    }


def test_a_body_that_is_nested_deeper_than_json_is_written_is_a_server_error():
    nested = b'{"custom_id":"0a","response":{"status_code":200,"body":' + b"[" * 500 + b"]" * 500
    outcome = read_result(nested + b"}}").outcome({}, None)
    assert isinstance(outcome, ServiceUnavailable)
