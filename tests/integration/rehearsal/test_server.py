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

from orchestrator.cli.rehearsal_server import rehearsal_server
from rehearsal.capabilities import Capabilities
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.rehearsal_client import JSON_SCHEMA, NOTICE, RECORD, SCHEMA, ask, content, error


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
    assert error(client.post("/nowhere", json={}))["type"] == "invalid_request_error"
    assert client.post("/nowhere", json={}).status_code == 404
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
        "from rehearsal.server import serve\n"
        "from rehearsal.options import RehearsalOptions\n"
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
