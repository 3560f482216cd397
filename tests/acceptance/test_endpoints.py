"""Runs on an endpoint: keys, budgets, batches, simulators, refusals."""

import json
import time

import pytest

from rehearsal.capabilities import Capabilities
from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.command_line_runs import BATCHED, DATASET, KEY, PROGRESS, rehearsed, rows


def test_a_run_on_an_api_scores_every_neuron_and_leaks_no_key(cli):
    options = RehearsalOptions(
        api_key=KEY, faults=FaultRates(server_error=0.02, rate_limit_bare=0.02)
    )
    with RehearsalServer(options) as server:
        code, output = cli.run("run", cli.config(rehearsed(server)), ACCEPTANCE_KEY=KEY)
        stats = server.stats()
    assert code == 0, output
    (states,) = rows(cli, "SELECT count(*) AS n, count(score) AS scored FROM neuron_summary")
    assert states["n"] == 192
    assert states["scored"] >= 190
    assert stats["repeated_questions"] == 0
    (spent,) = rows(cli, "SELECT sum(calls) AS calls, sum(usd) AS usd FROM run_cost")
    assert spent["calls"] == stats["answered"]
    assert spent["usd"] == pytest.approx(stats["usd"], rel=0.5)
    assert KEY not in output
    for log in (cli.home / "logs").iterdir():
        assert KEY not in log.read_text()
    for file in (cli.home / "postgres").rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes()


WITHOUT_PROBES = """
    SELECT sum(usd) AS usd, sum(calls) AS calls FROM run_cost WHERE stage <> 'probe'
"""


@pytest.fixture(scope="session")
def by_mode():
    """What a run leaves and pays, by the mode of its endpoint."""
    return {}


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_a_run_in_batches_leaves_the_same_dataset_for_half_the_price(cli, by_mode, mode):
    options = RehearsalOptions(
        faults=FaultRates(malformed=0.02),
        seed=1,  # by which no question is answered malformed twice, which would fail its neuron
        batches=BatchOptions(seconds=0.5, line_failures=0.05, expiries=2),
    )
    with RehearsalServer(options) as server:
        key = 'api_key_env = "ACCEPTANCE_KEY"\n'
        config = rehearsed(server).replace(key, BATCHED if mode == "batch" else "")
        code, output = cli.run("run", cli.config(config))
        stats = server.stats()
    assert code == 0, output
    (dataset,) = rows(cli, DATASET)
    (spent,) = rows(cli, WITHOUT_PROBES)
    assert (stats["batches"] > 2, stats["repeated_questions"]) == (mode == "batch", 0)
    assert spent["usd"] == pytest.approx(stats["usd"], rel=0.2)
    left = rows(cli, "SELECT (SELECT count(*) FROM batch_request) AS asked, count(*) AS waits, "
                     "(SELECT count(*) FROM budget_hold) AS held FROM batch_wait")  # fmt: skip
    assert set(left[0].values()) == {0}
    by_mode[mode] = dataset, float(spent["usd"]), spent["calls"]
    if mode == "batch" and "online" in by_mode:
        assert by_mode["batch"][0] == by_mode["online"][0]
        assert by_mode["batch"][1] == pytest.approx(by_mode["online"][1] / 2, rel=1e-6)
        assert by_mode["batch"][2] == by_mode["online"][2]


def test_a_run_in_batches_whose_workers_are_killed_asks_nothing_twice(cli):
    batching = BatchOptions(seconds=1.0)
    with RehearsalServer(RehearsalOptions(batches=batching)) as server:
        config = rehearsed(server).replace('api_key_env = "ACCEPTANCE_KEY"\n', BATCHED)
        running = cli.start("run", cli.config(config))
        killed = 0
        deadline = time.monotonic() + 150
        while running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            if server.stats()["batches"] > killed and killed < 4:  # one was created just now
                killed += cli.kill("worker api")
        output, _ = running.communicate(timeout=60)
        stats = server.stats()
    assert running.returncode == 0, output
    assert killed >= 2
    assert stats["repeated_questions"] == 0
    (spent,) = rows(cli, WITHOUT_PROBES)
    assert spent["calls"] == stats["batch_lines"] > 192


def test_a_wrong_key_pauses_the_run_and_a_right_one_ends_it(cli):
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        config = cli.config(rehearsed(server).replace("per_layer = 96", "per_layer = 8"))
        code, output = cli.run("run", config, ACCEPTANCE_KEY="sk-wrong")
        assert code == 4, output
        assert "credentials" in output
        assert "sk-wrong" not in output
        assert server.stats()["requests"] == 1
        assert rows(cli, "SELECT count(*) AS n FROM run")[0]["n"] == 0
        code, output = cli.run("run", config, ACCEPTANCE_KEY=KEY)
        assert code == 0, output


def test_a_key_that_is_withdrawn_pauses_the_run_and_a_right_one_ends_it(cli):
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        config = cli.config(rehearsed(server).replace("per_layer = 96", "per_layer = 8"))
        running = cli.start("run", config, ACCEPTANCE_KEY=KEY)
        while running.poll() is None and server.stats()["answered"] < 6:  # the probe has 2
            time.sleep(0.05)
        cli.kill("orchestrator run")
        cli.kill("worker api")
        running.communicate(timeout=60)
        code, output = cli.run("run", config, ACCEPTANCE_KEY="sk-wrong")
        assert code == 4, output
        assert "paused (credentials)" in output
        assert "sk-wrong" not in output
        code, output = cli.run("run", config, ACCEPTANCE_KEY=KEY)
        assert code == 0, output


KINDS = {
    "auto": ("echo_logprobs", 1),
    "chat_logprobs": ("chat_logprobs", 1),
    "json": ("json", 3),
    "token_by_token": ("token_by_token", 1),
}


CALLS_BY_RUN = """
    SELECT run, sum(calls) AS calls, sum(calls) FILTER (WHERE stage = 'simulate') AS simulate
    FROM run_cost GROUP BY run
"""
SIMULATIONS_BY_RUN = """
    SELECT name, count(*) AS n, count(distribution) AS n_distributions,
           min(length(expected_activations)) AS size, min(length(distribution)) AS of_each
    FROM simulation JOIN run ON run.id = run_id GROUP BY name
"""


def smallest(config):
    return config.replace("per_layer = 96", "per_layer = 3").replace("[0, 3]", "[0]")


def test_every_kind_of_simulator_is_frozen_with_its_run_and_scores_it(cli):
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        for kind, (chosen, records_per_call) in KINDS.items():
            text = smallest(rehearsed(server)).replace('"tiny"', f'"{kind}"')
            simulator = f'[simulator]\nkind = "{kind}"\nrecords_per_call = {records_per_call}'
            config = cli.config(text.replace('[simulator]\nkind = "json"', simulator))
            before = server.stats()["answered"]
            code, output = cli.run("run", config, ACCEPTANCE_KEY=KEY)
            assert code == 0, output
            assert f"simulator {chosen}: " in output
            cost = next(row for row in rows(cli, CALLS_BY_RUN) if row["run"] == kind)
            assert cost["calls"] == server.stats()["answered"] - before
            per_neuron = {"json": 2, "token_by_token": 4 * 64}.get(kind, 4)
            assert cost["simulate"] <= 6 * per_neuron
            stored = next(row for row in rows(cli, SIMULATIONS_BY_RUN) if row["name"] == kind)
            assert stored["size"] == 2 * 64
            assert stored["n_distributions"] == (0 if kind == "json" else stored["n"])
            assert stored["of_each"] == (None if kind == "json" else 2 * 64 * 11)
    lacking = Capabilities(without=frozenset({"logprobs", "completions"}))
    with RehearsalServer(RehearsalOptions(api_key=KEY, capabilities=lacking)) as server:
        text = smallest(rehearsed(server)).replace('"tiny"', '"new"')
        text = text.replace('kind = "json"', 'kind = "auto"')
        code, output = cli.run("run", cli.config(text), ACCEPTANCE_KEY=KEY)
        assert code == 0, output
        assert "simulator json: it works" in output
        code, output = cli.run("doctor", cli.config(text), "--json", ACCEPTANCE_KEY=KEY)
        assert code == 0, output
        found = json.loads(output[output.index("{") :])["endpoints"]["simulator"]
        assert (found["auto"]["kind"], found["echo"], found["logprobs"]) == ("json", False, 0)
        assert (found["json_schema"], found["max_completion_tokens"]) == (True, False)


def test_an_estimate_costs_nothing_and_names_what_bounds_the_run(cli):
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        text = rehearsed(server).replace(
            'api_key_env = "ACCEPTANCE_KEY"',
            'api_key_env = "ACCEPTANCE_KEY"\nrequests_per_minute = 60',
        )
        code, output = cli.run("estimate", cli.config(text), "--json")
        assert code == 0, output
        made = json.loads(output)
        assert made["neurons"] == 192
        assert made["total"]["calls"] == 192 * 5
        assert made["total"]["bound_by"] == "requests_per_minute"
        assert made["total"]["seconds"]["requests_per_minute"] == 192 * 5
        assert made["total"]["usd_in_batches"] == pytest.approx(made["total"]["usd"] / 2)
        code, output = cli.run("estimate", cli.config(text.split("[endpoints.here.prices")[0]))
        assert code == 0, output
        assert "No price is known for rehearsal" in output
        assert server.stats()["requests"] == 0


def test_a_budget_pauses_the_run_before_it_is_exceeded(cli):
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        config = cli.config(rehearsed(server) + "[budget]\nusd = 0.01\n")
        code, output = cli.run("run", config, ACCEPTANCE_KEY=KEY)
        assert code == 4, output
        assert "budget of 0.01 USD" in output
        (spent,) = rows(cli, "SELECT sum(usd) AS usd FROM run_cost")
    assert 0 < spent["usd"] <= 0.02


def test_refused_neurons_fail_with_a_reason_and_can_be_retried(cli):
    faults = FaultRates(refusal=0.02)
    with RehearsalServer(RehearsalOptions(api_key=KEY, faults=faults)) as server:
        config = cli.config(rehearsed(server).replace("per_layer = 96", "per_layer = 24"))
        code, output = cli.run("run", config, ACCEPTANCE_KEY=KEY)
        assert code == 3, output
        summary = rows(cli, "SELECT stage, class, n FROM failure_summary")
        assert {row["class"] for row in summary} == {"refused"}
        for stage in rows(cli, PROGRESS):
            assert stage["done"] + stage["failed"] == stage["total"]
        for _ in range(4):
            assert cli.run("retry", "--class", "refused")[0] == 0
            code, output = cli.run("resume", ACCEPTANCE_KEY=KEY)
            if code == 0:
                break
    assert code == 0, output
    for stage in rows(cli, PROGRESS):
        assert (stage["done"], stage["failed"]) == (stage["total"], 0)
