import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from click.testing import CliRunner
from httpx_aiohttp import HttpxAiohttpClient

from orchestrator.commands.rehearsal import rehearsal_server
from orchestrator.rehearsal.capabilities import Capabilities
from orchestrator.rehearsal.faults import CONTENT_FAULTS, FaultRates
from orchestrator.rehearsal.options import RehearsalOptions
from orchestrator.rehearsal.server import RehearsalServer

NOTICE = "not a language model"
RECORD = " the\t0\n sea\t7\n .\t0"
SCHEMA = {
    "type": "object",
    "properties": {str(position): {"enum": list(range(11))} for position in range(64)},
    "required": [str(position) for position in range(64)],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "simulation", "schema": SCHEMA}}


@pytest.fixture
def start():
    """Starts servers with the given options; yields a function that returns (server, client)."""
    started = []

    def start(**options):
        server = RehearsalServer(RehearsalOptions(**options)).__enter__()
        client = httpx.Client(base_url=server.base_url)
        started.append((server, client))
        return server, client

    yield start
    for server, client in started:
        client.close()
        server.__exit__(None, None, None)


def ask(client, text=RECORD, headers=None, **parameters):
    request = {"model": "rehearsal", "messages": [{"role": "user", "content": text}], **parameters}
    return client.post("/chat/completions", json=request, headers=headers)


def content(response):
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def error(response):
    return response.json()["error"]


def test_every_page_says_that_this_is_no_language_model(start):
    server, client = start()
    root = server.base_url.removesuffix("/v1")
    responses = [httpx.get(f"{root}{path}") for path in ("/", "/health", "/v1/models")]
    responses += [ask(client), ask(client, n=2), client.get("/nowhere")]
    assert all(NOTICE in response.text for response in responses)
    assert all(NOTICE in response.headers["server"] for response in responses)


def test_same_seed_and_body_give_the_same_bytes_on_every_server(start):
    clients = [start(seed=seed)[1] for seed in (1, 1, 2)]
    first, same, other = (ask(client) for client in clients)
    assert first.content == same.content
    assert content(first) != content(other)


def test_completion_has_the_shape_and_the_headers_of_the_openai_api(start):
    _, client = start(requests_per_minute=6000, tokens_per_minute=600_000)
    response = ask(client, text="x" * 41)
    reply = response.json()
    text = content(response)
    assert reply["object"] == "chat.completion"
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": -(-len(text) // 4),
        "total_tokens": 11 - (-len(text) // 4),
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    headers = response.headers
    assert headers["x-ratelimit-limit-requests"] == "6000"
    assert headers["x-ratelimit-remaining-requests"] in {"98", "99"}  # it refills meanwhile
    left = 10_000 - reply["usage"]["total_tokens"]
    assert int(headers["x-ratelimit-remaining-tokens"]) in {left - 1, left}
    assert headers["x-request-id"] != ask(client).headers["x-request-id"]
    assert int(headers["openai-processing-ms"]) >= 0


def test_simulation_is_valid_for_its_schema_and_varied(start):
    _, client = start()
    lines = "\n".join(f"{position}:  word{position % 50}" for position in range(64))
    values = json.loads(content(ask(client, text=lines, response_format=JSON_SCHEMA)))
    assert list(values) == SCHEMA["required"]
    assert set(values.values()) <= set(range(11))
    assert 30 <= list(values.values()).count(0) < 64
    assert all(values[str(p)] == values[str(p + 50)] for p in range(14))


def test_logprobs_of_a_simulation_favour_the_numbers_it_says(start):
    _, client = start()
    response = ask(client, response_format=JSON_SCHEMA, logprobs=True, top_logprobs=15)
    entries = response.json()["choices"][0]["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == content(response)
    numbers = [entry for entry in entries if len(entry["top_logprobs"]) > 1]
    said = list(json.loads(content(response)).values())
    assert [int(entry["token"]) for entry in numbers] == said
    for entry in numbers:
        logprobs = [alternative["logprob"] for alternative in entry["top_logprobs"]]
        assert {a["token"] for a in entry["top_logprobs"]} == {str(n) for n in range(11)}
        assert entry["logprob"] == max(logprobs)
        assert sum(2.718281828**logprob for logprob in logprobs) == pytest.approx(1, abs=1e-4)


def test_wrong_key_is_refused_and_not_repeated_in_the_answer(start):
    server, client = start(api_key="sk-right")
    wrong = ask(client, headers={"Authorization": "Bearer sk-wrong"})
    assert (wrong.status_code, error(wrong)["code"]) == (401, "invalid_api_key")
    assert "sk-" not in wrong.text
    assert ask(client).status_code == 401
    assert client.get("/models").status_code == 401
    assert ask(client, headers={"Authorization": "Bearer sk-right"}).status_code == 200
    assert server.stats()["rejected"] == {"401": 2}


def test_unknown_model_is_refused_unless_any_will_do(start):
    _, strict = start(models=("one", "two"))
    _, open_minded = start(models=())
    refused = ask(strict, model="three")
    assert (refused.status_code, error(refused)["code"]) == (404, "model_not_found")
    assert ask(strict, model="two").json()["model"] == "two"
    assert [model["id"] for model in strict.get("/models").json()["data"]] == ["one", "two"]
    assert ask(open_minded, model="three").status_code == 200


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"n": 2}, "n"),
        ({"stream": True}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "60"}, "max_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
    ],
)
def test_impossible_parameter_is_refused_by_name(start, parameters, param):
    _, client = start()
    response = ask(client, **parameters)
    assert response.status_code == 400
    assert error(response)["type"] == "invalid_request_error"
    assert error(response)["param"].startswith(param)


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'{"model": "\xff"}', b'"\\ud800"'])
def test_body_that_is_no_request_is_refused(start, text):
    _, client = start()
    response = client.post("/chat/completions", content=text)
    assert response.status_code == 400
    assert error(response).keys() == {"message", "type", "code", "param"}


def test_unknown_parameters_are_ignored(start):
    _, client = start()
    assert ask(client, temperature=1.0, frobnicate={"a": 1}).status_code == 200


def test_unknown_path_and_wrong_method_are_answered_in_json(start):
    _, client = start()
    assert error(client.post("/embeddings", json={}))["type"] == "invalid_request_error"
    assert client.post("/embeddings", json={}).status_code == 404
    assert client.get("/chat/completions").status_code == 405


REASONING = Capabilities(reasoning=True)


@pytest.mark.parametrize(
    ("capabilities", "parameters", "param"),
    [
        (REASONING, {"max_tokens": 5}, "max_tokens"),
        (REASONING, {"temperature": 0}, "temperature"),
        (REASONING, {"logprobs": True}, "logprobs"),
        (
            Capabilities(without={"json_schema"}),
            {"response_format": JSON_SCHEMA},
            "response_format",
        ),
        (Capabilities(without={"logprobs"}), {"logprobs": True}, "top_logprobs"),
        (Capabilities(max_logprobs=5), {"logprobs": True, "top_logprobs": 6}, "top_logprobs"),
    ],
)
def test_what_a_server_lacks_it_refuses_by_name(start, capabilities, parameters, param):
    server, client = start(capabilities=capabilities)
    refused = ask(client, **parameters)
    assert (refused.status_code, error(refused)["param"]) == (400, param)
    assert ask(client, max_completion_tokens=60, temperature=1).status_code == 200
    assert server.stats()["rejected"] == {"400": 1}


def complete(client, **parameters):
    request = {"model": "rehearsal", "prompt": " sea\tunknown\n", **parameters}
    return client.post("/completions", json=request)


def test_completions_echo_a_prompt_with_the_shape_of_the_openai_api(start):
    server, client = start()
    response = complete(client, max_tokens=0, echo=True, logprobs=15)
    reply = response.json()
    choice = reply["choices"][0]
    assert (reply["object"], choice["text"]) == ("text_completion", " sea\tunknown\n")
    assert reply["usage"]["prompt_tokens"] == len(choice["logprobs"]["tokens"])
    assert reply["usage"]["completion_tokens"] == 0
    assert NOTICE in response.text
    assert server.stats()["prompt_tokens"] == reply["usage"]["prompt_tokens"]


def test_completions_can_be_missing_whole_or_in_part(start):
    _, without_echo = start(capabilities=Capabilities(without={"echo", "prompt_logprobs"}))
    assert error(complete(without_echo, echo=True))["param"] == "echo"
    assert error(complete(without_echo, prompt_logprobs=5))["param"] == "prompt_logprobs"
    assert complete(without_echo).status_code == 200
    _, none = start(capabilities=Capabilities(without={"completions"}))
    assert complete(none).status_code == 404
    _, few = start(capabilities=Capabilities(max_logprobs=5))
    assert complete(few, logprobs=6).status_code == 400
    assert complete(few, logprobs=5).status_code == 200


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


def test_answers_take_the_latency_they_are_given_but_do_not_wait_for_each_other(start):
    _, client = start(latency_ms=200, faults=FaultRates(slow=1), slow_seconds=0.2)
    started = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(lambda number: ask(client, top_p=number), range(10)))
    assert 0.4 <= time.monotonic() - started < 2
    assert all(int(response.headers["openai-processing-ms"]) >= 400 for response in responses)


async def answers_in_order(base_url, numbers):
    """Ask all questions at once, each until it is answered; return the contents by number."""
    async with HttpxAiohttpClient(base_url=base_url) as client:

        async def persist(number):
            request = {
                "model": "rehearsal",
                "messages": [{"role": "user", "content": RECORD}],
                "top_p": number,
            }
            while True:
                try:
                    response = await client.post("/chat/completions", json=request)
                except httpx.TransportError:
                    continue
                if response.status_code == 200:
                    return number, response.content

        return dict(await asyncio.gather(*map(persist, numbers)))


def test_retried_questions_pass_and_are_paid_once_with_the_same_answers_in_any_order(start):
    rates = FaultRates(rate_limit=0.1, rate_limit_bare=0.1, server_error=0.2, drop=0.1, refusal=0.1)
    servers = [start(faults=rates)[0] for _ in range(2)]
    numbers = range(300)
    forwards = asyncio.run(answers_in_order(servers[0].base_url, numbers))
    backwards = asyncio.run(answers_in_order(servers[1].base_url, reversed(numbers)))
    assert forwards == backwards
    stats = servers[0].stats()
    assert stats["repeated_questions"] == 0
    assert stats["distinct_questions"] == stats["answered"] == 300 - stats["faults"]["refusal"]
    assert {**stats, "max_requests_per_second": 0} == {
        **servers[1].stats(),
        "max_requests_per_second": 0,
    }
    assert stats["requests"] == stats["answered"] + sum(stats["faults"].values())


def test_question_answered_more_than_once_is_found_by_its_body(start):
    server, client = start()
    for _ in range(3):
        repeated = ask(client)
    ask(client, text="another")
    stats = httpx.get(f"{server.base_url.removesuffix('/v1')}/rehearsal/stats").json()
    assert (stats["answered"], stats["distinct_questions"]) == (4, 2)
    assert stats["repeated_questions"] == 2
    assert list(stats["repeated_bodies"].values()) == [3]
    assert repeated.json()["id"].removeprefix("chatcmpl-rehearsal-") in next(
        iter(stats["repeated_bodies"])
    )
    assert stats == server.stats()


def test_every_request_is_accounted_for_once(start):
    faults = FaultRates(rate_limit=0.2, server_error=0.2, malformed=0.2, empty=0.2)
    server, client = start(faults=faults, requests_per_minute=1200)
    for number in range(60):
        ask(client, top_p=number)
    ask(client, n=2)
    stats = server.stats()
    parts = [stats["faults"], stats["refused"], stats["rejected"]]
    assert stats["requests"] == 61
    assert stats["answered"] + sum(sum(part.values()) for part in parts) == 61
    assert stats["refused_429"] == stats["faults"]["rate_limit"] + stats["refused"]["requests"]
    assert 1 <= stats["max_requests_per_second"] <= 61


def test_account_stays_when_the_server_has_stopped():
    with RehearsalServer() as server, httpx.Client(base_url=server.base_url) as client:
        ask(client)
    assert server.stats()["answered"] == 1


def test_server_stops_though_answers_are_still_held_back():
    with RehearsalServer(RehearsalOptions(latency_ms=60_000)) as server:
        client = httpx.Client(base_url=server.base_url)

        def ask_in_vain():
            with pytest.raises(httpx.HTTPError):
                ask(client)

        asking = threading.Thread(target=ask_in_vain)
        asking.start()
        while server.stats()["requests"] == 0:
            time.sleep(0.01)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 5
    asking.join()
    client.close()


def test_port_in_use_is_reported_to_the_caller():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = RehearsalOptions(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="address already in use"), RehearsalServer(options):
            pass


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("nothing=0.5", "'nothing' is none of rate_limit, rate_limit_bare, server_error, drop"),
        ("drop=2", "drop is 2.0, not a probability from 0 to 1"),
        ("drop", "drop is nan"),
    ],
)
def test_command_refuses_impossible_faults_by_name(option, said):
    result = CliRunner().invoke(rehearsal_server, ["--fault", option])
    assert result.exit_code == 2
    assert said in result.stderr


def test_command_serves_what_its_options_say():
    command = [sys.executable, "-m", "orchestrator", "rehearsal-server", "--port", "0"]
    options = "--fault refusal=1 --without echo --latency-jitter-ms 1 --any-model --input-price 9"
    with subprocess.Popen(
        [*command, *options.split()], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            base_url = process.stdout.readline().split()[0]
            with httpx.Client(base_url=base_url) as client:
                assert ask(client, model="any").json()["choices"][0]["message"]["refusal"]
                assert complete(client, echo=True).status_code == 400
        finally:
            process.terminate()
            assert process.wait(timeout=10) == 0


def test_blocking_server_says_where_it_is_and_stops_on_sigterm():
    code = (
        "from orchestrator.rehearsal.server import serve\n"
        "from orchestrator.rehearsal.options import RehearsalOptions\n"
        "serve(RehearsalOptions())"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert NOTICE in line
            assert httpx.get(f"{line.split()[0]}/models").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
