"""A small run of the demo model with calls, and all of its shards done in this process."""

import math
import os
import threading
from contextlib import closing
from importlib import import_module

from sqlalchemy import Engine, text

from db import runs, shard_readiness, shards
from db.session import transaction
from neurogloss.config.run import RunConfig
from tests.support.corpus import small_corpus
from worker.process_calls import ProcessCalls
from worker.run import Run
from worker.shard import ClaimedShard, Lease

LEASE_S = 600


def run_config(base_url: str) -> RunConfig:
    """Return a small run of the demo model with calls, and records of every kind."""
    role = {"endpoint": "here", "model": "rehearsal"}
    prices = {"rehearsal": {"input": 4.0, "cached_input": 4.0, "output": 8.0}}
    return RunConfig.model_validate(
        {
            "name": "whole",
            "corpus": {"source": small_corpus(), "excerpts": 96, "excerpt_tokens": 16},
            "records": {"top": 8, "random": 6, "per_quantile": 2},
            "scoring": {"top": 2, "random": 2},
            "neurons": {"layers": [0, 3], "per_layer": 12},
            "shards": {"neurons": 5, "excerpts": 32},
            "explainer": role,
            "simulator": {"kind": "json", **role},
            "endpoints": {"here": {"base_url": base_url, "prices": prices}},
        }
    )


def finish(engine: Engine, run_id: int, worker: Engine | None = None) -> None:
    """Do every shard of a run, here, in the order in which they become ready.

    `worker` is the engine of the work itself, where it is to be another one.
    """
    with closing(ProcessCalls(os.environ.get("REDIS_URL"), os.environ)) as calls:
        while ids := _ready(engine, run_id):
            for shard_id in ids:
                _do(worker or engine, shard_id, calls)
    with transaction(engine) as connection:
        runs.finish(connection, run_id)


def _ready(engine: Engine, run_id: int) -> list[int]:
    with transaction(engine) as connection:
        shard_readiness.open_ready(connection, run_id)
        ready = "SELECT id FROM shard WHERE run_id = :run AND state = 'ready' ORDER BY id"
        return list(connection.scalars(text(ready), {"run": run_id}))


def _do(engine: Engine, shard_id: int, calls: ProcessCalls) -> None:
    with transaction(engine) as connection:
        claim = shards.claim(connection, shard_id, "here", LEASE_S)
        if claim is None:
            return  # another transaction holds its row, as a repair does: it is still ready
        run = runs.get(connection, claim.run_id)
    config = Run.of(run).config
    lease = Lease(threading.Event(), math.inf)
    stage = import_module(f"worker.stages.{claim.stage}")
    getattr(stage, claim.stage)(ClaimedShard(engine, claim, run, config, lease, calls))
