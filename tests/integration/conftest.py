"""A whole run in a database, made once and copied for each test that damages or moves it."""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from db import runs, shard_readiness, shards
from db.session import transaction
from neurogloss.config.run import RunConfig
from orchestrator.local.services import ServiceUrls
from orchestrator.runs.create import check_inputs, create_or_resume
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from worker.process_calls import ProcessCalls
from worker.shard import ClaimedShard, Lease

LEASE_S = 600


def run_config(base_url: str) -> RunConfig:
    """Return a small run of the demo model with calls, and records of every kind."""
    role = {"endpoint": "here", "model": "rehearsal"}
    prices = {"rehearsal": {"input": 4.0, "cached_input": 4.0, "output": 8.0}}
    return RunConfig.model_validate(
        {
            "name": "whole",
            "corpus": {"excerpts": 96, "excerpt_tokens": 16},
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
        assert claim is not None
        run = runs.get(connection, claim.run_id)
    config = RunConfig.model_validate(run.config)
    lease = Lease(threading.Event(), math.inf)
    stage = import_module(f"worker.stages.{claim.stage}")
    getattr(stage, claim.stage)(ClaimedShard(engine, claim, run, config, lease, calls))


@pytest.fixture(scope="session")
def whole_template(services: ServiceUrls, template: str) -> str:
    """A database with a finished run, of which some neurons failed."""
    os.environ["REDIS_URL"] = services.redis_url
    _execute(services, f"CREATE DATABASE whole_template TEMPLATE {template}")
    engine = create_engine(url_of(services, "whole_template"))
    faults = FaultRates(refusal=0.02, malformed=0.05)
    with RehearsalServer(RehearsalOptions(faults=faults, seed=1)) as server:
        config = run_config(server.base_url)
        run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
        finish(engine, run_id)
    engine.dispose()
    del os.environ["REDIS_URL"]
    return "whole_template"


@pytest.fixture
def whole_url(services: ServiceUrls, whole_template: str) -> Iterator[str]:
    """The URL of a copy of it."""
    _execute(services, f"CREATE DATABASE whole TEMPLATE {whole_template}")
    yield url_of(services, "whole")
    _execute(services, "DROP DATABASE whole WITH (FORCE)")


@pytest.fixture
def whole(whole_url: str) -> Iterator[Engine]:
    """An engine on a copy of it."""
    engine = create_engine(whole_url)
    yield engine
    engine.dispose()


def url_of(services: ServiceUrls, database: str) -> str:
    return make_url(services.database_url).set(database=database).render_as_string(False)


def _execute(services: ServiceUrls, statement: str) -> None:
    engine = create_engine(services.database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
