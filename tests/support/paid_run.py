"""A run on an API whose simulations are to be paid for, and worker processes that do it."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
from sqlalchemy import text

from db import results, runs
from db.records import NeuronRecordsRow, neuron_records
from db.results import ExplanationRow
from neurogloss.config.run import RunConfig
from orchestrator.dispatch import tick
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from tests.support.corpus import small_corpus

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


class Run:
    """A run that is collected and explained. `probes` questions were asked before it began."""

    def __init__(self, engine, server, **budget):
        self.engine, self.budget = engine, budget
        self.id = create_or_resume(engine, *self.config_and_inputs(server), lambda: None)
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

    def config_and_inputs(self, server, **budget):
        role = {"endpoint": "here", "model": "rehearsal"}
        prices = {"rehearsal": {"input": 4.0, "cached_input": 4.0, "output": 8.0}}
        here = {"base_url": server.base_url, "api_key_env": "PAID_KEY", "prices": prices}
        config = RunConfig.model_validate(
            {
                "name": "paid",
                "corpus": {"source": small_corpus(), "excerpts": 200},
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
                config, _ = self.config_and_inputs(server, **budget)
                digest = {"hash": config.digest()}
                connection.execute(text("UPDATE run SET config_hash = :hash"), digest)
        create_or_resume(self.engine, *self.config_and_inputs(server, **budget), lambda: None)

    def rows(self, query):
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    def value(self, query):
        return next(iter(self.rows(query)[0].values()))

    def scored(self):
        return self.value("SELECT count(*) FROM neuron_summary WHERE state = 'scored'")
