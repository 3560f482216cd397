"""A key that a server repeats is in no message and in no stored answer."""

import httpx
import orjson
import pytest

from neurogloss.errors import BadCredentials, NeuroglossError, ServiceUnavailable
from neurogloss.llm.responses import raise_for_error, read_completion
from tests.support.error_response import answer

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


def test_a_key_that_the_server_repeats_is_taken_out():
    with pytest.raises(BadCredentials) as caught:
        raise_for_error(answer(401, "Incorrect API key: sk-secret"), "sk-secret")
    assert "sk-secret" not in str(caught.value)
    assert "[key]" in str(caught.value)
