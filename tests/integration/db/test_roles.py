"""Database roles: each can do its part of a run, and nothing else."""

import threading
import time

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from db import batches, heartbeats, notes, runs, text_queue, texts
from db.notes import NewNote
from db.roles import PREFIX, ROLES, apply_roles
from db.session import transaction
from db.texts import NewTextRequest
from neurogloss.config.run import RunConfig
from neurogloss.errors import NoCredit, Waiting
from orchestrator.cli.main import cli
from orchestrator.dispatch import tick
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.inputs import check_inputs
from orchestrator.runs.limits import change_limits
from orchestrator.verify.verify import find_differences
from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.small_run import finish, run_config
from tests.support.text_results import result_of
from worker.app import app
from worker.run_state import PostgresRunState, RunBudget
from worker.shard import RunJob
from worker.stages.batches.advance import advance

PASSWORDS = {role: f"secret of {role}" for role in ROLES}


@pytest.fixture
def roles(services):
    yield
    engine = create_engine(services.database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for role in ROLES:
            connection.execute(text(f"DROP ROLE IF EXISTS {PREFIX}{role}"))
    engine.dispose()


@pytest.fixture
def engines(roles, engine, database_url):
    """Engines of each role on an empty database. Rights are set twice, which changes nothing."""
    for _ in range(2):
        with transaction(engine) as connection:
            apply_roles(connection, PASSWORDS)
    found = {
        role: create_engine(make_url(database_url).set(username=PREFIX + role)) for role in ROLES
    }
    yield found
    for each in found.values():
        each.dispose()
    with engine.begin() as connection:
        for role in ROLES:
            connection.execute(text(f"DROP OWNED BY {PREFIX}{role}"))


@pytest.mark.parametrize("mode", ["online", "batch"])
@pytest.mark.parametrize("kinds", ["llm", "lookup", "revised"])
def test_a_whole_run_needs_no_more_than_the_roles_may(engines, services, monkeypatch, mode, kinds):
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    orchestrator, worker = engines["orchestrator"], engines["worker"]
    faults = FaultRates(refusal=0.02, malformed=0.05)
    options = RehearsalOptions(faults=faults, batches=BatchOptions(seconds=0.0))
    with RehearsalServer(options) as server:
        values = run_config(server.base_url).model_dump(mode="json")
        values["endpoints"]["here"] |= {"mode": mode, "batches": {"fill_s": 0.0}}
        values["budget"]["usd"] = 100.0
        if kinds == "lookup":
            values["simulator"] = values["explainer"] = {"kind": "lookup"}
        if kinds == "revised":
            values["explainer"] |= {"candidates": 2, "revise": True, "sentences": 4}
        config = RunConfig.model_validate(values)
        run_id = create_or_resume(orchestrator, config, check_inputs(config, {}), lambda: None)
        with transaction(worker) as connection:
            heartbeats.beat(connection, "w", "api", "host", 0)
        app.conf.broker_url = services.redis_url
        assert tick(orchestrator, run_id, 600) == "running"
        with transaction(orchestrator) as connection:
            connection.execute(text("UPDATE shard SET state = 'ready' WHERE state = 'queued'"))
        if mode == "online" or kinds == "lookup":
            finish(orchestrator, run_id, worker)
        else:
            finish_in_batches(orchestrator, worker, run_id, config)
        with transaction(orchestrator) as connection:
            assert runs.get(connection, run_id).state == "done"
        with transaction(worker) as connection:
            heartbeats.leave(connection, "w")
    for engine in engines.values():
        with transaction(engine) as connection:
            run = runs.latest(connection)
        assert list(find_differences(engine, run.id, lambda *_: None)) == []


def finish_in_batches(orchestrator, worker, run_id, config):
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            finish(orchestrator, run_id, worker)
        except Waiting:
            with transaction(worker) as connection:
                waits = "UPDATE shard SET state = 'waiting', asked = true WHERE state = 'leased'"
                connection.execute(text(waits))
        advance(RunJob(worker, run_id, config, threading.Event()))
        with transaction(orchestrator) as connection:
            query = "SELECT count(*) FROM shard WHERE state <> 'done'"
            if connection.scalar(text(query)) == 0:
                runs.finish(connection, run_id)
                return
            connection.execute(text("UPDATE run SET state = 'running', finished_at = NULL"))
    raise AssertionError("the batches took too long")


def test_workers_pause_runs_and_hold_budgets_and_people_change_limits(engines, whole_in_roles):
    worker, orchestrator = whole_in_roles["worker"], whole_in_roles["orchestrator"]
    with transaction(orchestrator) as connection:
        runs.resume(connection, 1)
    change_limits(orchestrator, 1, ["budget.usd=1000"])
    budget = RunBudget(worker, 1)
    assert budget.hold(0.0, 0.1).usd >= 0.1
    PostgresRunState(worker, 1, {}).pause(NoCredit("nothing left"))
    budget.release()
    with transaction(worker) as connection:
        assert runs.get(connection, 1).pause_cause == "credit"
        batches.take_turn(connection, 1, 1.0)


@pytest.fixture
def whole_in_roles(engines, whole, whole_url):
    with transaction(whole) as connection:
        apply_roles(connection, PASSWORDS)
    found = {role: create_engine(make_url(whole_url).set(username=PREFIX + role)) for role in ROLES}
    yield found
    for each in found.values():
        each.dispose()
    with whole.begin() as connection:
        for role in ROLES:
            connection.execute(text(f"DROP OWNED BY {PREFIX}{role}"))


def test_workers_answer_texts(whole_in_roles):
    orchestrator, worker = whole_in_roles["orchestrator"], whole_in_roles["worker"]
    with transaction(orchestrator) as connection:
        request_ids = [
            texts.submit(connection, texts.NewTextRequest(run_id=1, text="a")) for _ in range(3)
        ]
    with transaction(worker) as connection:
        held = [text_queue.claim(connection, "w", 60) for _ in request_ids]
        text_queue.renew(connection, held[0], 60)
        assert text_queue.finish(connection, held[0], result_of())
        assert text_queue.fail(connection, held[1], "error", "a defect")
        assert text_queue.release(connection, held[2])
    with transaction(whole_in_roles["reader"]) as connection:
        assert texts.load_request(connection, request_ids[0]).result.target == result_of().target


EVERYWHERE_REFUSED = (
    "DROP TABLE score",
    "TRUNCATE score",
    "CREATE TABLE mine (x int)",
    "ALTER TABLE run ADD x int",
    "UPDATE alembic_version SET version_num = '1'",
    "CREATE ROLE mine SUPERUSER",
    "COPY score TO PROGRAM 'cat'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT rolpassword FROM pg_authid",
    "SET ROLE neurogloss",
)
REFUSED = {
    "orchestrator": EVERYWHERE_REFUSED,
    "worker": (
        *EVERYWHERE_REFUSED,
        "UPDATE run SET config = '{}'",
        "UPDATE run SET budget_usd = 1e9",
        "DELETE FROM run",
        "DELETE FROM call",
        "DELETE FROM score",
        "UPDATE explanation SET text = 'x'",
        "UPDATE excerpt SET tokens = ''",
        "INSERT INTO neuron VALUES (1, 0, 99)",
        "DELETE FROM failure",
        "INSERT INTO text_request (run_id, text) VALUES (1, 'x')",
        "UPDATE text_request SET text = 'x'",
        "DELETE FROM text_request",
    ),
    "reader": (
        *EVERYWHERE_REFUSED,
        "UPDATE shard SET state = 'ready'",
        "INSERT INTO neuron VALUES (1, 0, 99)",
        "CREATE TEMP TABLE mine (x int)",
        "DELETE FROM worker",
        "INSERT INTO neuron_note (run_id, layer, neuron, text) VALUES (1, 0, 1, 'x')",
    ),
    "web": (
        "UPDATE run SET state = 'paused'",
        "INSERT INTO neuron VALUES (1, 0, 99)",
        "UPDATE neuron_note SET text = 'x'",
        "DELETE FROM neuron_note",
        "INSERT INTO neuron_note (run_id, layer, neuron, text, created_at)"
        " VALUES (1, 0, 1, 'x', '2020-01-01')",
        "INSERT INTO text_request (run_id, text, state) VALUES (1, 'x', 'done')",
        "INSERT INTO text_result VALUES (1, '{}', '')",
    ),
}


@pytest.mark.parametrize(
    ("role", "statement"), [(role, s) for role, found in REFUSED.items() for s in found]
)
def test_what_a_role_does_not_need_is_refused(whole_in_roles, role, statement):
    refused = pytest.raises(DBAPIError, match=r"permission denied|must be owner")
    with refused, whole_in_roles[role].begin() as connection:
        connection.execute(text(statement))


def test_pages_add_notes(whole_in_roles):
    with transaction(whole_in_roles["web"]) as connection:
        layer, neuron = connection.execute(text("SELECT layer, neuron FROM neuron")).first()
        notes.add(connection, NewNote(run_id=1, layer=layer, neuron=neuron, text="a note"))


def test_the_reader_reads_every_view(whole_in_roles):
    views = ("run_progress", "layer_progress", "run_cost", "failure_summary", "neuron_summary")
    with whole_in_roles["reader"].connect() as connection:
        for view in (*views, "worker_status", "call"):
            connection.execute(text(f"SELECT * FROM {view}")).all()  # noqa: S608


def test_migrate_makes_the_roles_and_names_the_passwords_that_are_missing(
    roles, whole, whole_url, services, monkeypatch
):
    monkeypatch.setenv("DATABASE_URL", whole_url)
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    monkeypatch.setenv("WORKER_DB_PASSWORD", "secret")
    result = CliRunner().invoke(cli, ["migrate", "--roles"])
    missing = "not set: ORCHESTRATOR_DB_PASSWORD, READER_DB_PASSWORD, WEB_DB_PASSWORD"
    assert str(result.exception) == missing
    monkeypatch.setenv("ORCHESTRATOR_DB_PASSWORD", "secret")
    monkeypatch.setenv("READER_DB_PASSWORD", "secret '%(x)s\\")
    monkeypatch.setenv("WEB_DB_PASSWORD", "secret")
    result = CliRunner().invoke(cli, ["migrate", "--roles"])
    assert (result.exit_code, "neurogloss_reader" in result.output) == (0, True)
    with whole.begin() as connection:
        query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'neurogloss_%'"
        stored = dict(tuple(row) for row in connection.execute(text(query)))
        assert len(stored) == len(ROLES)
        assert all(secret.startswith("SCRAM-SHA-256$") for secret in stored.values())
        for role in ROLES:
            connection.execute(text(f"DROP OWNED BY {PREFIX}{role}"))


def test_pages_may_ask_about_texts_and_read(engines, whole_in_roles):
    web = whole_in_roles["web"]
    with transaction(web) as connection:
        number = texts.submit(connection, NewTextRequest(run_id=1, text="The capital of"))
        assert texts.load_request(connection, number).state == "waiting"
    for forbidden in (
        "UPDATE text_request SET state = 'done'",
        "DELETE FROM text_request",
        "UPDATE run SET state = 'running'",
        "INSERT INTO failure SELECT * FROM failure",
        "CREATE TEMPORARY TABLE t (x int)",
    ):
        with pytest.raises(DBAPIError, match="permission denied"), transaction(web) as connection:
            connection.execute(text(forbidden))
