"""A database that goes away while calls are in flight, and a worker that ends before it is back."""

import signal
import tempfile
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from db import migrate
from neurogloss.errors import InputError
from orchestrator.dispatch import tick
from orchestrator.local.services import Services, start_services, stop_services
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.calls import ANSWER
from tests.support.databases import connected
from tests.support.paid_run import CALLS, IN_FLIGHT, KEY, LEASE_S, NEURONS, Run, Workers
from worker.app import app
from worker.replay import Replay
from worker.spool import Spool

ENDS_WITHIN_S = 20  # from SIGTERM to the kill, for a local worker


@pytest.fixture(scope="module")
def home():
    """A home folder with services of its own, which a test may stop."""
    with tempfile.TemporaryDirectory(prefix="neurogloss-tests-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # as root, Postgres runs under another account
        yield home / "home"
        stop_services(home / "home")


@pytest.fixture
def own_services(home, services, tmp_path, monkeypatch):
    """Yield (engine, workers, spool) on their Postgres, and on the Redis of all tests."""
    urls = start_services(home)
    migrate.upgrade(urls.database_url)
    monkeypatch.setenv("PAID_KEY", KEY)
    # Celery keeps its connections to the first Redis that a process sends messages to.
    app.conf.broker_url = services.redis_url
    workers = Workers(urls.database_url, services.redis_url, tmp_path)
    workers.env["NEUROGLOSS_SPOOL"] = str(tmp_path / "spool")
    with connected(urls.database_url) as engine:
        yield engine, workers, Spool(tmp_path / "spool")
    for name in [n for n, process in workers.processes.items() if process.poll() is None]:
        workers.kill(name)


def test_answers_outlive_a_worker_that_ends_while_the_database_is_away(home, own_services):
    engine, workers, spool = own_services
    postgres = Services.of(home).postgres
    with RehearsalServer(RehearsalOptions(api_key=KEY, latency_ms=1500)) as server:
        run = Run(engine, server)
        workers.start("one")

        def is_busy():
            return server.stats()["requests"] >= run.probes + 2 * IN_FLIGHT

        wait_until(lambda: tick(engine, run.id, LEASE_S) and is_busy(), workers.logs)
        stored = run.value("SELECT count(*) FROM call")
        postgres.stop()
        one = workers.processes["one"]
        one.send_signal(signal.SIGTERM)
        assert one.wait(ENDS_WITHIN_S) == 0, workers.logs()
        kept = [spool.read(path) for path in spool.files()]
        paid = server.stats()["answered"]
        assert stored + sum(len(file.answers) for file in kept) >= paid > stored, workers.logs()
        postgres.start()
        engine.dispose()
        workers.start("two")
        assert run.follow() == "done"
        stats = server.stats()
    assert run.scored() == NEURONS
    assert (stats["repeated_questions"], stats["answered"]) == (0, CALLS + run.probes)
    assert run.value("SELECT sum(calls) FROM spend") == CALLS + run.probes
    assert spool.files() == []
    assert "kept answers stored" in workers.logs()


def test_a_file_is_stored_once_however_often_it_is_found(engine, run_id, tmp_path):
    spool = Spool(tmp_path / "spool")
    for _ in range(2):
        spool.keep(run_id, "r", [ANSWER])
        Replay(spool, engine).run()
    assert spool.files() == []
    with engine.begin() as connection:
        assert connection.execute(text("SELECT calls, usd FROM spend")).one() == (1, 0.5)
        assert connection.scalar(text("SELECT count(*) FROM repeated_call")) == 0


def test_files_of_another_database_stay_and_damaged_ones_are_set_aside(engine, run_id, tmp_path):
    spool = Spool(tmp_path / "spool")
    spool.keep(run_id, "another", [ANSWER])
    spool.keep(run_id, "r", [ANSWER])
    other, damaged = spool.files()
    damaged.write_text("{")
    Replay(spool, engine).run()
    assert spool.files() == [other]
    with pytest.raises(InputError):
        spool.read(damaged.with_suffix(".bad"))


def wait_until(condition, explain=lambda: ""):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.1)
