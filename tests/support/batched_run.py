"""A run whose calls go into the batches of a rehearsal server."""

import math
import threading
import time

from sqlalchemy import text

from db import corpora, runs, shard_readiness, shards
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import Waiting
from neurogloss.llm.batch_client import BatchClient
from neurogloss.llm.endpoint import Endpoint
from worker.shard import ClaimedShard, Lease, RunJob
from worker.stages.batches.advance import advance
from worker.stages.batches.requests import answers_from_batches

LEASE_S = 60


class Batched:
    """A run of one shard whose questions go into the batches of a rehearsal server."""

    def __init__(self, engine, server, limits, budget, name="batched"):
        self.engine, self.server, self.name = engine, server, name
        self.config = RunConfig.model_validate(
            {
                "name": name,
                "explainer": {"endpoint": "here", "model": "rehearsal"},
                "simulator": {"kind": "lookup"},
                "endpoints": {
                    "here": {
                        "base_url": server.base_url,
                        "mode": "batch",
                        "batches": {"fill_s": 0, **limits},
                        "prices": {
                            "rehearsal": {"input": 0.15, "cached_input": 0.075, "output": 0.6}
                        },
                    }
                },
            }
        )
        self.run_id = self._create(budget)
        self.endpoint = Endpoint.from_config("here", self.config.endpoints["here"], {})

    def _create(self, budget):
        with transaction(self.engine) as connection:
            corpus = {
                "digest": "c",
                "vocabulary_id": corpora.save_vocabulary(connection, "v", ["a"]),
                "source": "s",
                "n_excerpts": 1,
                "excerpt_tokens": 2,
                "n_documents": 1,
                "n_documents_too_short": 0,
                "n_windows": 1,
            }
            run = {
                "name": self.name,
                "config": self.config.model_dump(mode="json"),
                "config_hash": "h",
                "corpus_id": corpora.save_corpus(
                    connection, corpora.NewCorpus(**corpus), [("d", 0, b"\0" * 8)]
                ),
                "n_layers": 1,
                "neurons_per_layer": 2,
                "budget_usd": budget,
            }
            run_id = runs.create(connection, runs.NewRun(**run))
            runs.save_plan(
                connection,
                run_id,
                neurons=[runs.PlannedNeuron(0, 0), runs.PlannedNeuron(0, 1)],
                shards=[
                    runs.PlannedShard("explain", "", 0, start, start + 1, 1, "ready")
                    for start in (0, 1)
                ],
                totals=[("explain", 0, 2)],
            )
        return run_id

    def claim(self, number=0):
        with transaction(self.engine) as connection:
            query = text("SELECT id FROM shard WHERE run_id = :run ORDER BY id")
            ids = connection.scalars(query, {"run": self.run_id}).all()
            claim = shards.claim(connection, ids[number], "w", LEASE_S)
            assert claim is not None
            run = runs.get(connection, self.run_id)
        return ClaimedShard(
            self.engine, claim, run, self.config, Lease(threading.Event(), math.inf)
        )

    def ask(self, calls, number=0):
        """Do the shard: return its answers, or None where it has to wait."""
        shard = self.claim(number)
        try:
            return answers_from_batches(shard, self.endpoint, calls)
        except Waiting:
            with transaction(self.engine) as connection:
                assert shards.wait(connection, shard.claim)
            return None

    def advance(self, connect=BatchClient):
        advance(RunJob(self.engine, self.run_id, self.config, threading.Event()), connect)

    def is_ready(self, number=0):
        with transaction(self.engine) as connection:
            shard_readiness.open_ready(connection, self.run_id)
            query = text("SELECT state FROM shard WHERE run_id = :run ORDER BY id")
            states = connection.scalars(query, {"run": self.run_id}).all()
        return states[number] == "ready"

    def answers(self, calls):
        """Ask, and bring the batches on until the shard has its answers."""
        answers = self.ask(calls)
        deadline = time.monotonic() + 60
        while answers is None:
            assert time.monotonic() < deadline, self.rows()
            self.advance()
            if self.is_ready():
                answers = self.ask(calls)
            time.sleep(0.05)
        return answers

    def rows(self):
        with transaction(self.engine) as connection:
            query = "SELECT state, outcome, n_requests, batch_id FROM batch ORDER BY id"
            return [tuple(row) for row in connection.execute(text(query))]

    def scalar(self, query):
        with transaction(self.engine) as connection:
            return connection.scalar(text(query))

    def execute(self, statement):
        with transaction(self.engine) as connection:
            connection.execute(text(statement))

    def leaves_nothing(self):
        return self.scalar("SELECT count(*) FROM batch_request") == 0 and (
            self.scalar("SELECT count(*) FROM batch_wait") == 0
            and self.scalar("SELECT count(*) FROM budget_hold") == 0
        )
