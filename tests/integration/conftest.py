"""Runs, worker processes and subject models that tests of several packages need."""

import copy
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from db import corpora, runs
from neurogloss.subject.model import load_subject
from orchestrator.local.services import ServiceUrls
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.commands import run_in_process
from tests.support.databases import connected, copied, copy_database, url_of
from tests.support.paid_run import KEY, Workers
from tests.support.planted_subject import save_planted
from tests.support.small_run import finish, run_config
from tests.support.tiny_subject import save_tiny
from worker.app import app
from worker.stages import forward_pass
from worker.stages.collect import steps, token_tables


@pytest.fixture(scope="session")
def whole_template(services: ServiceUrls, template: str) -> str:
    """A database with a finished run, of which some neurons failed."""
    os.environ["REDIS_URL"] = services.redis_url
    copy_database(services, template, "whole_template")
    faults = FaultRates(refusal=0.02, malformed=0.05)
    with (
        connected(url_of(services, "whole_template")) as engine,
        RehearsalServer(RehearsalOptions(faults=faults, seed=1)) as server,
    ):
        config = run_config(server.base_url)
        run_id = create_or_resume(engine, config, check_inputs(config, {}), lambda: None)
        finish(engine, run_id)
    del os.environ["REDIS_URL"]
    return "whole_template"


@pytest.fixture
def whole_url(services: ServiceUrls, whole_template: str) -> Iterator[str]:
    """The URL of a copy of it."""
    with copied(services, whole_template, "whole") as url:
        yield url


@pytest.fixture
def whole(whole_url: str) -> Iterator[Engine]:
    """An engine on a copy of it."""
    with connected(whole_url) as engine:
        yield engine


@pytest.fixture
def command(whole_url, services, monkeypatch, capsys):
    """Run a command on that copy; return its exit code and its output."""
    monkeypatch.setenv("DATABASE_URL", whole_url)
    monkeypatch.setenv("REDIS_URL", services.redis_url)

    def command(*arguments):
        return run_in_process(capsys, arguments)

    return command


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """The folder of a subject model whose neuron n fires on token n."""
    folder = tmp_path_factory.mktemp("planted")
    save_planted(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a small random subject model."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tiny):
    """The small random subject model."""
    return load_subject(tiny)


@pytest.fixture
def own_models(monkeypatch):
    """Give each thread a model of its own, as each worker process has one: hooks are on it."""
    own = threading.local()

    def subject_of(shard):
        if not hasattr(own, "model"):
            own.model = copy.deepcopy(forward_pass.subject_of(shard))
        return own.model

    for module in (steps, token_tables):
        monkeypatch.setattr(module, "subject_of", subject_of)


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


@pytest.fixture
def run_id(engine):
    """A run of two shards of two neurons each in layer 0, collected and ready to be explained."""
    with engine.begin() as connection:
        vocabulary = corpora.save_vocabulary(connection, "v", ["a", "b\0"])
        corpus = {
            "digest": "c",
            "vocabulary_id": vocabulary,
            "source": "s",
            "n_excerpts": 1,
            "excerpt_tokens": 2,
            "n_documents": 1,
            "n_documents_too_short": 0,
            "n_windows": 1,
        }
        run = {
            "name": "r",
            "config": {},
            "config_hash": "h",
            "corpus_id": corpora.save_corpus(
                connection, corpora.NewCorpus(**corpus), [("d", 0, b"\0" * 8)]
            ),
            "n_layers": 1,
            "neurons_per_layer": 4,
        }
        run_id = runs.create(connection, runs.NewRun(**run))
        runs.save_plan(
            connection,
            run_id,
            neurons=[runs.PlannedNeuron(0, n) for n in range(4)],
            shards=[
                runs.PlannedShard(
                    stage, "", 0, start, start + 2, 2, "ready" if stage == "explain" else "waiting"
                )
                for stage in ("explain", "simulate", "score")
                for start in (0, 2)
            ],
            totals=[(stage, 0, 4) for stage in ("explain", "simulate", "score")],
        )
    return run_id
