import dataclasses
import json
import math
import re

import pytest

from neurogloss.errors import (
    BadCredentials,
    EndpointUnreachable,
    NoCredit,
    UnknownModel,
    UnsuitableModel,
)
from neurogloss.llm.endpoint import Endpoint, Price
from neurogloss.llm.probe import probe, probe_chat, probe_kind
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from rehearsal.capabilities import Capabilities
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.planted_subject import Oracle, serving
from tests.support.raw_server import head, raw_server

KEY = "sk-test-0123456789"


class DigitsApart(Oracle):
    """Has a tokenizer to which 10 is two tokens."""

    likely = {str(digit): math.log(0.08) for digit in range(10)}  # noqa: RUF012  (never changed)

    def choice(self, body):
        if "prompt" in body:
            parts = re.split("(unknown)", body["prompt"])
            tops = [self.likely if part == "unknown" else {part: -0.1} for part in parts]
            logprobs = {"tokens": parts, "top_logprobs": [None, *tops[1:]]}
            return {"text": body["prompt"], "logprobs": logprobs}
        top = [{"token": digit, "logprob": value} for digit, value in self.likely.items()]
        content = [{"token": "1", "logprob": -0.1, "top_logprobs": top}]
        return {"message": {"content": "1"}, "logprobs": {"content": content}}


@pytest.fixture
def serve():
    """Return a function that starts a server of these options and returns its endpoint."""
    servers = []

    def serve(**options):
        server = RehearsalServer(RehearsalOptions(api_key=KEY, **options))
        servers.append(server)
        server.__enter__()
        return Endpoint(
            name="here",
            base_url=server.base_url,
            api_key=KEY,
            prices={"rehearsal": Price(input=1.0, output=1.0)},
        )

    yield serve
    for server in servers:
        server.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("capabilities", "kind", "reason"),
    [
        pytest.param({}, "echo_logprobs", "11 numbers", id="everything"),
        pytest.param(
            {"without": {"echo"}}, "echo_logprobs", "prompt_logprobs = 20", id="vLLM's way alone"
        ),
        pytest.param({"max_logprobs": 15}, "echo_logprobs", "logprobs = 15", id="15 alternatives"),
        pytest.param(
            {"without": {"completions"}},
            "json",
            "not echo_logprobs: the endpoint answered 404",
            id="chat alone",
        ),
        pytest.param(
            {"without": {"echo", "prompt_logprobs"}}, "json", "not echo_logprobs", id="no echo"
        ),
        pytest.param({"max_logprobs": 5}, "json", "less than or equal to 5", id="5 alternatives"),
        pytest.param({"without": {"logprobs"}}, "json", "logprobs", id="no log probabilities"),
        pytest.param(
            {"without": {"completions"}, "reasoning": True}, "json", "logprobs", id="reasoning"
        ),
    ],
)
def test_auto_chooses_the_best_that_works_and_says_why(serve, capabilities, kind, reason):
    lacking = {k: frozenset(v) if k == "without" else v for k, v in capabilities.items()}
    endpoint = serve(capabilities=Capabilities(**lacking))
    choice, found = probe_kind(endpoint, "rehearsal", "auto")
    assert choice.kind == kind
    assert reason in choice.reason
    assert all(answer.usd > 0 and answer.purpose == "probe" for answer in found.answers)
    assert len(found.answers) <= 4
    assert probe_kind(endpoint, "rehearsal", "auto")[0] == choice


def test_a_reasoning_model_is_asked_in_its_own_way(serve):
    endpoint = serve(capabilities=Capabilities(reasoning=True))
    assert probe(endpoint, "rehearsal").refused == ("max_tokens", "temperature")


def test_everything_is_found_out_for_the_doctor(serve):
    found = probe(serve(), "rehearsal")
    assert {f.name: f.works for f in found.findings} == dict.fromkeys(
        ("echo_logprobs", "chat_logprobs", "json", "token_by_token"), True
    )


@pytest.mark.parametrize("kind", ["echo_logprobs", "chat_logprobs", "token_by_token"])
def test_a_configured_kind_that_does_not_work_is_refused_with_the_reason(serve, kind):
    endpoint = serve(capabilities=Capabilities(without=frozenset({"logprobs", "prompt_logprobs"})))
    with pytest.raises(UnsuitableModel, match=rf"simulator {kind}: .*logprobs"):
        probe_kind(endpoint, "rehearsal", kind)


@pytest.mark.parametrize("kind", ["auto", "echo_logprobs", "token_by_token"])
def test_a_model_to_which_ten_is_two_tokens_is_asked_for_numbers_to_nine(kind):
    with serving(DigitsApart) as url:
        endpoint = Endpoint(name="here", base_url=url)
        choice, _ = probe_kind(endpoint, "m", kind)
    assert choice.kind == ("echo_logprobs" if kind == "auto" else kind)
    assert choice.highest == 9
    assert "80.0% of the probability on 10 numbers, from 0 to 9 as 10 is never" in choice.reason
    assert SimulatorChoice.from_json(choice.to_json()) == choice
    asked = simulator_of(choice).ask("x", [["a"]])[0].body
    assert "to 9, where it finds exactly" in str(asked)


class Wordy(DigitsApart):
    """Expects words where numbers are asked for."""

    likely = {"unknown": -0.1, "the": -3.0}  # noqa: RUF012  (never changed)


@pytest.mark.parametrize("kind", ["echo_logprobs", "token_by_token"])
def test_a_model_to_which_no_number_is_likely_is_refused(kind):
    with serving(Wordy) as url, pytest.raises(UnsuitableModel, match="no number is ever among"):
        probe_kind(Endpoint(name="here", base_url=url), "m", kind)


def test_a_server_without_schemas_is_asked_without_one(serve):
    endpoint = serve(capabilities=Capabilities(without=frozenset({"json_schema", "logprobs"})))
    choice, found = probe_kind(endpoint, "rehearsal", "auto")
    assert choice.kind == "json"
    assert "json_schema" in found.refused


def test_a_model_that_writes_nothing_of_use_is_refused(serve):
    lacking = Capabilities(without=frozenset({"completions"}))
    endpoint = serve(capabilities=lacking, faults=FaultRates(malformed=1.0))
    with pytest.raises(UnsuitableModel, match="no simulator works with this model: not echo"):
        probe_kind(endpoint, "rehearsal", "auto")


def test_faults_of_the_moment_do_not_decide(serve):
    endpoint = serve(faults=FaultRates(server_error=0.3, drop=0.1))
    assert probe_kind(endpoint, "rehearsal", "auto")[0].kind == "echo_logprobs"


@pytest.mark.parametrize(
    ("options", "change", "error", "message"),
    [
        pytest.param({}, {"api_key": "sk-wrong"}, BadCredentials, "incorrect API key", id="key"),
        pytest.param({"credit_usd": 0.0}, {}, NoCredit, "quota", id="credit"),
        pytest.param({"models": ("other",)}, {}, UnknownModel, "does not exist", id="model"),
        pytest.param(
            {},
            {"base_url": "http://127.0.0.1:9/v1", "wait_s": 0.0},
            EndpointUnreachable,
            "here",
            id="nobody",
        ),
    ],
)
@pytest.mark.parametrize("ask", [probe, probe_chat])
def test_an_endpoint_that_refuses_is_told_from_a_kind_that_does_not_work(
    serve, options, change, error, message, ask
):
    endpoint = dataclasses.replace(serve(**options), **change)
    with pytest.raises(error, match=message) as caught:
        ask(endpoint, "rehearsal")
    assert "sk-wrong" not in str(caught.value)


def test_a_proxy_that_drops_connections_while_its_server_restarts_is_tried_for_longer():
    reply = {
        "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    body = json.dumps(reply).encode()
    dropped = iter(range(6))  # more than the attempts of a call whose server has responded before

    def answer(send):
        if next(dropped, None) is None:
            send(head(f"Content-Length: {len(body)}") + body)

    with raw_server(answer) as url:
        assert probe_chat(Endpoint(name="here", base_url=url), "m").answers[0].text == "hello"
