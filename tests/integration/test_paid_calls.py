"""Runs on an API, with real workers: what is paid, how often, and what stops them."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sqlalchemy import text

from db import results, runs, shards
from db.records import NeuronRecordsRow, neuron_records
from db.results import ExplanationRow
from neurogloss.config.run import RunConfig
from orchestrator.dispatch import tick
from orchestrator.runs.create import check_inputs, create_or_resume
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from worker.app import app

KEY = "sk-paid-0123456789"
LEASE_S = 2
IN_FLIGHT = 16
NEURONS = 32
CALLS = 10 * NEURONS


class Workers:
    """Processes that work on the queue `api`."""

    def __init__(self, database_url, redis_url, folder):
        names = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PAID_KEY": KEY}
        self.env = {**os.environ, **names, "NEUROGLOSS_LEASE_SECONDS": str(LEASE_S)}
        self.folder, self.processes, self.started = folder, {}, 0

    def start(self, name):
        self.started += 1
        command = [sys.executable, "-m", "orchestrator", "worker", "api", "--name", name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name):
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()

    def logs(self):
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))


@pytest.fixture
def workers(database_url, services, tmp_path, monkeypatch):
    monkeypatch.setenv("PAID_KEY", KEY)
    app.conf.broker_url = services.redis_url
    found = Workers(database_url, services.redis_url, tmp_path)
    yield found
    for process in found.processes.values():
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Run:
    """A run that is collected and explained. `probes` questions were asked before it began."""

    def __init__(self, engine, server, **budget):
        self.engine, self.budget = engine, budget
        self.id = create_or_resume(engine, *self._at(server), lambda: None)
        self.probes = server.stats()["answered"]
        draw = np.random.default_rng(0)
        with engine.begin() as connection:
            neurons = runs.neurons_in(connection, self.id, 0)
            neuron_records.save(connection, [self._records(n, draw) for n in neurons])
            explained = [
                ExplanationRow(self.id, 0, n, f"words like {n}", "made up") for n in neurons
            ]
            results.explanations.save(connection, explained)
            done = "UPDATE shard SET state = 'done' WHERE stage IN ('collect', 'explain')"
            connection.execute(text(done))

    def _at(self, server, **budget):
        role = {"endpoint": "here", "model": "rehearsal"}
        prices = {"rehearsal": {"input": 4.0, "cached_input": 4.0, "output": 8.0}}
        here = {"base_url": server.base_url, "api_key_env": "PAID_KEY", "prices": prices}
        config = RunConfig.model_validate(
            {
                "name": "paid",
                "corpus": {"excerpts": 200},
                "neurons": {"layers": [0], "per_layer": NEURONS},
                "shards": {"neurons": 8},
                "explainer": role,
                "simulator": {"kind": "json", **role},
                "endpoints": {"here": {**here, "max_in_flight": IN_FLIGHT, "timeout_s": 10.0}},
                "budget": budget or self.budget,
            }
        )
        return config, check_inputs(config, {"PAID_KEY": KEY})

    def _records(self, neuron, draw):
        return NeuronRecordsRow(
            run_id=self.id,
            layer=0,
            neuron=neuron,
            excerpts=draw.choice(200, 40, replace=False).tolist(),
            activations=draw.random((40, 64)).astype(np.float16),
            top_records=list(range(20)),
            random_records=list(range(20, 40)),
            bucket_records=[],
            buckets=[],
            quantile_boundaries=[0.0] * 4,
            max_activation=1.0,
            mean=0.5,
            variance=0.1,
            skewness=None,
            kurtosis=None,
            n_tokens=12800,
            undefined_reason=None,
        )

    def follow(self, meanwhile=lambda: None, timeout=60):
        """Dispatch until the run is done or paused, and return that state."""
        deadline = time.monotonic() + timeout
        while (state := tick(self.engine, self.id, LEASE_S)) == "running":
            assert time.monotonic() < deadline, self.rows("SELECT stage, state FROM shard")
            meanwhile()
            time.sleep(0.1)
        return state

    def resume(self, server, **budget):
        """Let the run go on, as `neurogloss run` with another configuration does."""
        if server.base_url not in str(self.rows("SELECT config FROM run")):
            with self.engine.begin() as connection:  # the same address, as the run sees it
                config, _ = self._at(server, **budget)
                digest = {"hash": config.digest()}
                connection.execute(text("UPDATE run SET config_hash = :hash"), digest)
        create_or_resume(self.engine, *self._at(server, **budget), lambda: None)

    def rows(self, query):
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    def value(self, query):
        return next(iter(self.rows(query)[0].values()))

    def scored(self):
        return self.value("SELECT count(*) FROM neuron_summary WHERE state = 'scored'")


def test_mixed_faults_end_with_every_neuron_scored(engine, workers):
    faults = FaultRates(
        rate_limit=0.005,
        rate_limit_bare=0.005,
        server_error=0.03,
        drop=0.03,
        slow=0.01,
        malformed=0.01,
        truncated=0.01,
    )
    options = RehearsalOptions(api_key=KEY, faults=faults, slow_seconds=0.5)
    with RehearsalServer(options) as server:
        run = Run(engine, server)
        workers.start("one")
        assert run.follow() == "done"
        stats = server.stats()
    assert stats["faults"]["malformed"] and stats["faults"]["truncated"] and stats["faults"]["drop"]
    assert run.scored() == NEURONS
    assert run.rows("SELECT * FROM failure") == []
    (cost,) = run.rows("SELECT sum(usd) AS usd, sum(usd_wasted_on_retries) AS wasted FROM run_cost")
    paid = 4.0 * stats["prompt_tokens"] + 8.0 * stats["completion_tokens"]
    assert cost["usd"] == pytest.approx(paid / 1e6)
    useless = stats["faults"]["malformed"] + stats["faults"]["truncated"]
    assert cost["wasted"] == pytest.approx(cost["usd"] * useless / CALLS, rel=0.5)
    assert KEY not in workers.logs()


def test_workers_killed_again_and_again_lose_no_answer_and_repeat_what_was_in_flight(
    engine, workers
):
    with RehearsalServer(RehearsalOptions(api_key=KEY, latency_ms=200)) as server:
        run = Run(engine, server)
        for name in ("one", "two"):
            workers.start(name)
        kills = []

        def kill():
            answered = server.stats()["answered"]
            if len(kills) < 3 and answered > 70 * (len(kills) + 1):
                kills.append(answered)
                name = ("one", "two")[len(kills) % 2]
                workers.kill(name)
                workers.start(name)

        assert run.follow(kill) == "done"
        stats = server.stats()
    assert len(kills) == 3
    assert run.scored() == NEURONS
    assert run.value("SELECT count(*) FROM call") == CALLS + run.probes
    assert stats["distinct_questions"] == CALLS + run.probes
    assert stats["repeated_questions"] <= 3 * IN_FLIGHT


def test_credit_that_ends_pauses_the_run_and_nothing_is_asked_twice_after(engine, workers):
    half = RehearsalOptions(api_key=KEY, latency_ms=50, credit_usd=0.03)
    with RehearsalServer(half) as server:
        run = Run(engine, server)
        for name in ("one", "two"):
            workers.start(name)
        assert run.follow() == "paused"
        first = server.stats()
    (paused,) = run.rows("SELECT pause_cause, pause_reason FROM run")
    assert paused["pause_cause"] == "credit"
    assert "exceeded your current quota" in paused["pause_reason"]
    assert first["refused"]["credit"] <= IN_FLIGHT
    assert run.value("SELECT count(*) FROM call") == first["answered"] < CALLS
    port = int(server.base_url.split(":")[2].split("/")[0])
    with RehearsalServer(RehearsalOptions(api_key=KEY, port=port)) as good:
        run.resume(good)
        assert run.follow() == "done"
        second = good.stats()
    assert run.scored() == NEURONS
    assert first["answered"] + second["answered"] == CALLS + run.probes


def test_a_budget_holds_over_all_workers_and_may_be_raised(engine, workers):
    with RehearsalServer(RehearsalOptions(api_key=KEY, latency_ms=50)) as server:
        run = Run(engine, server, usd=1.0)
        for name in ("one", "two"):
            workers.start(name)
        assert run.follow() == "paused"
        (paused,) = run.rows("SELECT pause_cause, pause_reason FROM run")
        assert paused["pause_cause"] == "budget"
        assert 0.99 <= run.value("SELECT sum(usd) FROM run_cost") <= 1.0
        run.resume(server, usd=100.0)
        assert run.follow() == "done"
        stats = server.stats()
    assert run.scored() == NEURONS
    assert stats["repeated_questions"] == 0


def test_a_pause_stops_workers_in_the_middle_of_their_shards(engine, workers):
    with RehearsalServer(RehearsalOptions(api_key=KEY, latency_ms=500)) as server:
        run = Run(engine, server)
        workers.start("one")

        def pause():
            if server.stats()["answered"] > 30:
                with engine.begin() as connection:
                    runs.pause(connection, run.id, "person", "tea")

        assert run.follow(pause) == "paused"
        answered = server.stats()["answered"]
        assert answered < CALLS / 2
        assert run.value("SELECT count(*) FROM call") == answered
    with engine.begin() as connection:
        assert shards.leased(connection, run.id) == 0
