import json
import os
import signal
import time

import pytest

from orchestrator.rehearsal.capabilities import Capabilities
from orchestrator.rehearsal.faults import FaultRates
from orchestrator.rehearsal.options import BatchOptions, RehearsalOptions
from orchestrator.rehearsal.server import RehearsalServer

TINY = """
name = "tiny"
[corpus]
excerpts = 300
[records]
top = 8
random = 6
[scoring]
top = 2
random = 2
[neurons]
layers = [0, 3]
per_layer = 96
[shards]
excerpts = 50
neurons = 16
"""
LOOKUP = TINY + '[explainer]\nkind = "lookup"\n[simulator]\nkind = "lookup"\n'

DATASET = """
    SELECT (SELECT md5(string_agg(r::text, '' ORDER BY r.layer, r.neuron)) FROM (
                SELECT layer, neuron, excerpts, activations, top_records, random_records,
                       bucket_records, buckets, quantile_boundaries, mean, variance, skewness,
                       kurtosis FROM neuron_records) AS r) AS records,
           (SELECT md5(string_agg(layer || ' ' || neuron || text, '' ORDER BY layer, neuron))
            FROM explanation) AS explanations,
           (SELECT md5(string_agg(layer || ' ' || neuron || ' ' || excerpt ||
                       encode(expected_activations, 'hex'), '' ORDER BY layer, neuron, excerpt))
            FROM simulation) AS simulations,
           (SELECT md5(string_agg(s::text, '' ORDER BY s.layer, s.neuron)) FROM (
                SELECT layer, neuron, score, score_top, score_random, rsquared FROM score) AS s)
            AS scores,
           (SELECT count(*) FROM score) AS n
"""
PROGRESS = "SELECT stage, total, done, failed FROM run_progress ORDER BY stage_order"


def rows(cli, query):
    code, output = cli.run("sql", "--json", query)
    assert code == 0, output
    return json.loads(output)


@pytest.fixture(scope="session")
def undisturbed():
    """What an undisturbed run leaves; filled by the first test that needs it."""
    return {}


def dataset_of(cli, undisturbed):
    """Return what is stored, and check it against an undisturbed run of the same configuration."""
    (found,) = rows(cli, DATASET)
    assert found["n"] == 192
    assert undisturbed.setdefault("dataset", found) == found
    return found


def test_a_run_scores_every_neuron_and_a_second_one_changes_nothing(cli, undisturbed):
    code, output = cli.run("run", cli.config(LOOKUP))
    assert code == 0, output
    assert "mean score by layer" in output
    for stage in rows(cli, PROGRESS):
        assert stage["done"] == stage["total"] > 0
        assert stage["failed"] == 0
    states = rows(cli, "SELECT state, count(*) AS n FROM neuron_summary GROUP BY 1")
    assert states == [{"state": "scored", "n": 192}]
    before = dataset_of(cli, undisturbed)
    started = time.monotonic()
    assert cli.run("run", cli.config(LOOKUP))[0] == 0
    assert time.monotonic() - started < 30
    assert dataset_of(cli, undisturbed) == before
    _look_closer(cli)


def _look_closer(cli):
    (best,) = rows(cli, "SELECT layer, neuron FROM neuron_summary ORDER BY score DESC LIMIT 1")
    code, page = cli.run("neuron", str(best["layer"]), str(best["neuron"]))
    assert code == 0
    assert "top only" in page
    assert json.loads(cli.run("status", "--json")[1])["state"] == "done"
    assert "tokens:" in cli.run("search", "tokens")[1]
    assert cli.run("neuron", "99", "0")[0] == 2
    code, output = cli.run("sql", "DELETE FROM score")
    assert code == 2
    assert "read-only" in output


@pytest.mark.parametrize("seconds", [5, 8, 11])
def test_a_run_that_is_killed_at_any_point_goes_on_to_the_same_dataset(cli, undisturbed, seconds):
    first = cli.start("run", cli.config(LOOKUP))
    time.sleep(seconds)
    os.kill(first.pid, signal.SIGKILL if seconds != 8 else signal.SIGINT)
    first.communicate(timeout=60)
    code, output = cli.run("run", cli.config(LOOKUP))
    assert code == 0, output
    dataset_of(cli, undisturbed)


@pytest.mark.parametrize("victim", ["worker gpu", "worker api", "redis-server"])
def test_a_run_outlives_its_workers_and_redis(cli, undisturbed, victim):
    running = cli.start("run", cli.config(LOOKUP))
    killed = 0
    deadline = time.monotonic() + 100
    while running.poll() is None and time.monotonic() < deadline:
        if killed < 2:
            time.sleep(4)
            killed += cli.kill(victim)
        time.sleep(0.2)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 0, output
    assert killed >= 1
    dataset_of(cli, undisturbed)


KEY = "sk-acceptance-7315"


def rehearsed(server):
    return f"""{TINY}
[explainer]
endpoint = "here"
model = "rehearsal"
[simulator]
kind = "json"
endpoint = "here"
model = "rehearsal"
[endpoints.here]
base_url = "{server.base_url}"
api_key_env = "ACCEPTANCE_KEY"
[endpoints.here.prices.rehearsal]
input = 0.15
output = 0.6
"""


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
BATCHED = """
mode = "batch"
[endpoints.here.batches]
fill_s = 0.5
poll_s = 0.3
max_lines = 100
"""


@pytest.fixture(scope="session")
def by_mode():
    """What a run leaves and pays, by the mode of its endpoint."""
    return {}


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_a_run_in_batches_leaves_the_same_dataset_for_half_the_price(cli, by_mode, mode):
    options = RehearsalOptions(
        faults=FaultRates(malformed=0.02),
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
    assert spent["usd"] == pytest.approx(stats["usd"], rel=0.2)  # it knows of no cached tokens
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


def test_every_kind_of_simulator_is_frozen_with_its_run_and_scores_it(cli):
    small = TINY.replace("per_layer = 96", "per_layer = 3").replace("[0, 3]", "[0]")
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        for kind, (chosen, records_per_call) in KINDS.items():
            text = rehearsed(server).replace(TINY, small).replace('"tiny"', f'"{kind}"')
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
        text = rehearsed(server).replace(TINY, small).replace('"tiny"', '"new"')
        text = text.replace('kind = "json"', 'kind = "auto"')
        code, output = cli.run("run", cli.config(text), ACCEPTANCE_KEY=KEY)
        assert code == 0, output
        assert "simulator json: it works" in output
        code, output = cli.run("doctor", cli.config(text), "--json", ACCEPTANCE_KEY=KEY)
        assert code == 0, output
        found = json.loads(output)["endpoints"]["simulator"]
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


BAD_INPUTS = [
    pytest.param(LOOKUP + "[colour]\nx = 1", "unknown key colour", id="an unknown key"),
    pytest.param(LOOKUP + '[subject]\nmodel = "./none"', "subject.model", id="no model"),
    pytest.param(LOOKUP + '[subject]\nmodel = "FOLDER/bert"', "no GPT-2", id="no GPT-2"),
    pytest.param(LOOKUP.replace("300", '300\nsource = "FOLDER/empty"'), "no .txt", id="no text"),
    pytest.param(LOOKUP.replace("300", '300\nsource = "FOLDER/short"'), "hold 0", id="too short"),
    pytest.param(LOOKUP.replace("= 300", "= 13"), "too few", id="too few excerpts"),
    pytest.param(
        TINY + '[endpoints.openai]\nbase_url = "http://localhost/v1"\napi_key_env = "UNSET_KEY"\n',
        "UNSET_KEY is not set",
        id="no key",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD_INPUTS)
def test_wrong_input_gets_one_message_and_leaves_nothing(cli, tmp_path, text, message):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "empty").mkdir()
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "a.txt").write_text("short")
    code, output = cli.run("run", cli.config(text.replace("FOLDER", str(tmp_path))))
    assert code == 2, output
    assert message in output
    assert "Traceback" not in output
    assert rows(cli, "SELECT count(*) AS n FROM run")[0]["n"] == 0


def test_an_unreachable_database_is_named(cli):
    urls = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x", "REDIS_URL": "redis://127.0.0.1:9"}
    code, output = cli.run("run", cli.config(LOOKUP), **urls)
    assert code == 2
    assert "DATABASE_URL: the database cannot be reached" in output


def test_one_service_without_the_other_is_refused(cli):
    code, output = cli.run("run", cli.config(LOOKUP), REDIS_URL="redis://127.0.0.1:9")
    assert code == 2
    assert "DATABASE_URL is not set" in output


def test_a_changed_configuration_under_an_old_name_is_refused_with_the_difference(cli):
    small = LOOKUP.replace("per_layer = 96", "per_layer = 2")
    assert cli.run("run", cli.config(small))[0] == 0
    code, output = cli.run("run", cli.config(small.replace("random = 6", "random = 9")))
    assert code == 2
    assert "records.random: 6 -> 9" in output
