"""What `doctor` measures at the endpoints of a configuration, and what it says of it."""

import json
import tomllib

import pytest

from neurogloss.config.run import RunConfig
from neurogloss.neurons.simulators.kinds import SimulatorChoice
from orchestrator.cli.main import main
from orchestrator.estimate.full_size import FullSizeCall, advice, measure
from orchestrator.estimate.sample import sample_without_run
from rehearsal.capabilities import Capabilities
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.corpus import small_corpus

TEXT = """
name = "measured"
[corpus]
source = "{corpus}"
excerpts = 200
[explainer]
endpoint = "here"
model = "rehearsal"
[simulator]
kind = "json"
endpoint = "here"
model = "rehearsal"
[scoring]
also = ["detection"]
[scorer]
endpoint = "here"
model = "rehearsal"
top_logprobs = 5
[endpoints.here]
base_url = "{url}"
timeout_s = {timeout_s}
max_in_flight = {max_in_flight}
"""


def configured(url, **values):
    text = TEXT.format(corpus=small_corpus(), url=url, **values)
    return RunConfig.model_validate(tomllib.loads(text))


@pytest.fixture
def doctor(database_url, services, tmp_path, monkeypatch, capsys):
    """Run the command on a configuration for a server; return what it printed on both outputs."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    monkeypatch.setenv("COLUMNS", "120")

    def doctor(server, *arguments, timeout_s=120, max_in_flight=64):
        path = tmp_path / "run.toml"
        values = {"timeout_s": timeout_s, "max_in_flight": max_in_flight}
        path.write_text(TEXT.format(corpus=small_corpus(), url=server.base_url, **values))
        code = 0
        try:
            main(["doctor", str(path), *arguments])
        except SystemExit as error:
            code = error.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return doctor


def test_a_full_size_call_of_each_stage_is_made_and_each_step_is_told_before(doctor):
    with RehearsalServer(RehearsalOptions()) as server:
        code, out, err = doctor(server, "--json")
    assert code == 0, err
    values = json.loads(out)
    calls = {call["stage"]: call for call in values["full_size"]}
    assert list(calls) == ["explain", "simulate", "score (detection)"]
    assert all(call["problem"] is None for call in calls.values())
    # Five records of 64 tokens are shown, and the few-shot; a probe asks some dozen tokens.
    assert calls["explain"]["prompt_tokens"] > 1500
    assert calls["simulate"]["prompt_tokens"] > 1000
    assert values["endpoints"]["scorer"]["kinds"]["top_logprobs"]["works"]
    told = [line for line in err.splitlines() if line.endswith(" ...")]
    assert [line.split(":")[0] for line in told] == [
        "explainer", "simulator", "scorer", "explain", "simulate", "score (detection)",
    ]  # fmt: skip
    assert any("timeout_s = 120 and max_in_flight = 64 leave room" in s for s in values["advice"])


def test_a_context_that_is_too_small_for_a_stage_is_found_before_the_run(doctor):
    with RehearsalServer(RehearsalOptions(context_tokens=1700)) as server:
        code, out, _ = doctor(server)
    assert code == 0
    assert "maximum context length is 1700 tokens" in out


def test_a_scorer_without_log_probabilities_is_found_out(doctor):
    capabilities = Capabilities(without=frozenset({"logprobs"}))
    with RehearsalServer(RehearsalOptions(capabilities=capabilities)) as server:
        code, out, err = doctor(server, "--json")
    assert code == 0, err
    kinds = json.loads(out)["endpoints"]["scorer"]["kinds"]
    assert kinds["json"]["works"]
    assert not kinds["top_logprobs"]["works"]


def test_a_server_that_answers_slowly_is_measured():
    with RehearsalServer(RehearsalOptions(latency_ms=300)) as server:
        config = configured(server.base_url, timeout_s=120, max_in_flight=64)
        neuron = sample_without_run(config, 50257).neurons[0]
        told = []
        calls = measure(config, neuron, SimulatorChoice("json"), told.append, {})
    assert len(told) == len(calls) == 3
    assert all(0.3 <= call.seconds < 30 for call in calls)
    assert all(0 < call.tokens_per_second < 20_000 for call in calls)


@pytest.mark.parametrize(
    ("seconds", "timeout_s", "max_in_flight", "says"),
    [
        pytest.param(1.2, 120, 64, "leave room", id="a hosted model"),
        pytest.param(
            20, 120, 16, "set max_in_flight = 3, or timeout_s = 660", id="calls queue on a CPU"
        ),
        pytest.param(
            90, 120, 2, "set timeout_s = 180 and max_in_flight = 1", id="one call alone is too slow"
        ),
    ],
)
def test_what_the_time_of_a_call_means_for_the_limits(seconds, timeout_s, max_in_flight, says):
    config = configured("http://h/v1", timeout_s=timeout_s, max_in_flight=max_in_flight)
    call = FullSizeCall("simulate", "here", "m", 2000, 500, 500, 528, seconds)
    context, time = advice(config, [call])
    assert "hold 2,528 tokens for each call" in context
    assert says in time
    assert call.tokens_per_second == pytest.approx(2000 / seconds)
