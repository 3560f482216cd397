"""Limits, prices and faults of the rehearsal server."""

import json
import time

import httpx
import pytest

from rehearsal.faults import CONTENT_FAULTS, FaultRates
from tests.support.rehearsal_client import JSON_SCHEMA, SCHEMA, ask, content, error


def test_requests_over_the_limit_are_refused_and_pass_after_the_wait(start):
    server, client = start(requests_per_minute=60)
    responses = [ask(client, top_p=number) for number in range(10)]
    assert responses[0].status_code == 200
    refused = next(response for response in responses if response.status_code == 429)
    assert (error(refused)["code"], error(refused)["type"]) == ("rate_limit_exceeded", "requests")
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    time.sleep(int(refused.headers["retry-after-ms"]) / 1000)
    assert ask(client, top_p=10).status_code == 200
    stats = server.stats()
    assert 0 < stats["refused"]["requests"] == stats["refused_429"]


def test_tokens_over_the_limit_are_refused(start):
    server, client = start(tokens_per_minute=6000)
    statuses = [ask(client, text="x" * 4000, top_p=number).status_code for number in range(4)]
    assert statuses == [200, 429, 429, 429]
    assert server.stats()["refused"] == {"tokens": 3}


def test_spent_credit_refuses_everything_from_then_on(start):
    server, client = start(credit_usd=0.001, input_price=1.0, output_price=1.0)
    responses = [ask(client, text="x" * 1600, top_p=number) for number in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    assert error(responses[-1])["code"] == "insufficient_quota"
    assert "retry-after" not in responses[-1].headers
    stats = server.stats()
    assert stats["usd"] == pytest.approx(
        (stats["prompt_tokens"] + stats["completion_tokens"]) / 1_000_000
    )
    assert stats["refused"] == {"credit": 2}


def test_cached_tokens_are_reported_and_cheaper(start):
    server, client = start(input_price=1.0, cached_input_price=0.1, output_price=0.0)
    prefix = "".join(f"example {number}\n" for number in range(500))
    usages = [ask(client, text=prefix + tail).json()["usage"] for tail in ("a", "b")]
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    assert cached[0] == 0
    assert cached[1] == 1024 + 128 * ((usages[1]["prompt_tokens"] - 1024) // 128)
    full_price = 2 * usages[0]["prompt_tokens"]
    assert server.stats()["usd"] == pytest.approx((full_price - 0.9 * cached[1]) / 1_000_000)


def test_rate_limit_faults_come_with_and_without_a_wait(start):
    _, told = start(faults=FaultRates(rate_limit=1))
    _, bare = start(faults=FaultRates(rate_limit_bare=1))
    assert ask(told).headers["retry-after"] == "1"
    assert "retry-after" not in ask(bare).headers
    assert ask(told).status_code == ask(bare).status_code == 429


def test_server_errors_come_in_three_kinds_one_of_them_not_json(start):
    _, client = start(faults=FaultRates(server_error=1))
    responses = [ask(client) for _ in range(30)]
    assert {response.status_code for response in responses} == {500, 502, 503}
    kinds = {r.status_code: r.headers["content-type"].split(";")[0] for r in responses}
    assert kinds == {500: "application/json", 502: "text/html", 503: "application/json"}


def test_dropped_request_gets_no_reply_and_costs_nothing(start):
    server, client = start(faults=FaultRates(drop=1))
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client)
    stats = server.stats()
    assert (stats["faults"], stats["usd"]) == ({"drop": 1}, 0)


SPOILT_TEXTS = ("malformed", "truncated", "refusal", "empty")


@pytest.mark.parametrize(
    ("response_format", "faults"), [({"type": "text"}, SPOILT_TEXTS), (JSON_SCHEMA, CONTENT_FAULTS)]
)
def test_spoilt_answers_are_not_what_was_asked_but_paid_for(start, response_format, faults):
    for fault in faults:
        server, client = start(faults=FaultRates(**{fault: 1}))
        choice = ask(client, response_format=response_format).json()["choices"][0]
        text = choice["message"]["content"]
        match fault:
            case "refusal":
                assert text is None
                assert choice["message"]["refusal"]
            case "empty":
                assert text == ""
            case "truncated":
                assert choice["finish_reason"] == "length"
            case "malformed":
                assert choice["finish_reason"] == "stop"
                assert not text.startswith("rehearsal answer, not a language model: tokens")
            case "position_missing":
                assert list(json.loads(text)) == SCHEMA["required"][:-1]
            case "position_added":
                assert list(json.loads(text)) == [*SCHEMA["required"], "64"]
        if fault != "refusal" and response_format is JSON_SCHEMA:
            assert not is_simulation(text)
        stats = server.stats()
        assert stats["faults"] == {fault: 1}
        assert (stats["answered"], stats["prompt_tokens"]) == (0, 5)
        assert stats["usd"] > 0


def test_fault_that_cannot_strike_an_answer_leaves_it_good(start):
    server, client = start(faults=FaultRates(position_missing=1))
    assert content(ask(client)).startswith("rehearsal answer, not a language model: tokens")
    assert (server.stats()["faults"], server.stats()["answered"]) == ({}, 1)


def is_simulation(text):
    try:
        return json.loads(text).keys() == set(SCHEMA["required"])
    except json.JSONDecodeError:
        return False
