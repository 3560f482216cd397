"""Cancelling a run, and changing its limits while it runs."""

import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from db import runs, shards
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from orchestrator.cli.follow import outcome
from orchestrator.cli.main import cli
from orchestrator.dispatch import tick
from orchestrator.runs.create import create_or_resume
from orchestrator.runs.limits import change_limits
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.paid_run import CALLS, KEY, LEASE_S, Run


def state(engine, value):
    with engine.begin() as connection:
        connection.execute(text("UPDATE run SET state = :state"), {"state": value})


def config_of(engine):
    with transaction(engine) as connection:
        run = runs.latest(connection)
    return RunConfig.model_validate(run.config), run.budget_usd


def test_limits_prices_and_budget_are_changed_together(whole, command):
    code, output = command(
        "set", "whole", "budget.usd=300", "endpoints.here.requests_per_minute=5000",
        'endpoints.here.prices."other.model"={input=1.0, output=2.0}', "endpoints.here.mode=batch",
    )  # fmt: skip
    assert (code, "budget.usd: none -> 300.0\n" in output) == (0, True)
    config, budget = config_of(whole)
    assert (config.budget.usd, budget) == (300.0, 300.0)
    here = config.endpoints["here"]
    assert (here.requests_per_minute, here.mode) == (5000, "batch")
    assert here.prices["other.model"].output == 2.0
    command("set", "whole", "endpoints.here.requests_per_minute=none", "budget.usd=none")
    config, budget = config_of(whole)
    assert (config.endpoints["here"].requests_per_minute, config.budget.usd, budget) == (None,) * 3


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("explainer.model=gpt-5", 'explainer.model: "rehearsal" -> "gpt-5"'),
        ("shards.neurons=9", "shards.neurons: 5 -> 9"),
        ("endpoints.here.base_url=http://other/v1", "endpoints.here.base_url: "),
        ("endpoints.new.base_url=http://other/v1", "endpoints.new: none -> "),
        ("name=other", 'name: "whole" -> "other"'),
        ("budget.usd=-1", "budget.usd = -1: input should be greater than 0"),
        ("budget.usd=lots", "budget.usd = 'lots': input should be a valid number"),
        ("budget=5", "budget = 5: "),
        ("endpoints=none", "endpoints = None"),
        ("endpoints.here.speed=5", "unknown key endpoints.here.speed"),
        ("endpoints.there.requests_per_minute=5", "endpoints.there.base_url is missing"),
        ("budget.usd", "is not of the form KEY=VALUE"),
        ("=5", "is not of the form KEY=VALUE"),
        ("a b=5", "is not of the form KEY=VALUE"),
        ("a.=none", "is not of the form KEY=VALUE"),
    ],
)
def test_what_cannot_be_changed_is_refused_with_the_reason_and_nothing_changes(
    whole, command, assignment, message
):
    before = config_of(whole)
    code, output = command("set", "whole", "endpoints.here.max_in_flight=3", assignment)
    assert (code, message in output) == (2, True), output
    assert config_of(whole) == before


def test_workers_take_over_limits_and_a_budget_in_the_middle_of_their_shards(engine, workers):
    with RehearsalServer(RehearsalOptions(api_key=KEY, latency_ms=50)) as server:
        run = Run(engine, server)
        change_limits(engine, run.id, ["endpoints.here.requests_per_minute=120"])
        workers.start("one")
        changed = []

        def speed_up():
            answered = server.stats()["answered"]
            if not changed and answered > 10:
                changed.append((answered, time.monotonic()))
                change_limits(engine, run.id, ["endpoints.here.requests_per_minute=none"])

        assert run.follow(speed_up) == "done"
        (answered, since) = changed[0]
        # The shards that were begun had most of their calls to make, at 2 a second.
        assert CALLS - answered > 200
        assert time.monotonic() - since < (CALLS - answered) / 2 / 4


def test_a_budget_that_is_set_while_shards_ask_ends_them(engine, workers):
    with RehearsalServer(RehearsalOptions(api_key=KEY, latency_ms=400)) as server:
        run = Run(engine, server)
        workers.start("one")

        def lower():
            if server.stats()["answered"] > 20:
                change_limits(engine, run.id, ["budget.usd=0.01"])

        assert run.follow(lower) == "paused"
        assert run.rows("SELECT pause_cause FROM run") == [{"pause_cause": "budget"}]
        assert server.stats()["answered"] < CALLS


def test_a_cancelled_run_stops_its_workers_and_is_over_for_good(engine, workers):
    with RehearsalServer(RehearsalOptions(api_key=KEY, latency_ms=300)) as server:
        run = Run(engine, server)
        workers.start("one")

        def cancel():
            if server.stats()["answered"] > 30:
                with transaction(engine) as connection:
                    assert runs.cancel(connection, run.id)

        assert run.follow(cancel) == "cancelled"
        deadline = time.monotonic() + 20
        while run.value("SELECT count(*) FROM shard WHERE state = 'leased'"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        answered = server.stats()["answered"]
        assert run.value("SELECT count(*) FROM call") == answered < CALLS
        assert tick(engine, run.id, LEASE_S) == "cancelled"
        with pytest.raises(InputError, match="was cancelled, which is for good"):
            create_or_resume(engine, *run.config_and_inputs(server), lambda: None)
        assert server.stats()["answered"] == answered


@pytest.mark.parametrize("words", [("retry",), ("resume",), ("set",)])
def test_commands_refuse_a_cancelled_run(whole, command, words):
    state(whole, "cancelled")
    arguments = (*words, "whole", *(["budget.usd=1"] if words == ("set",) else []))
    code, output = command(*arguments)
    assert (code, "run 'whole' was cancelled, which is for good" in output) == (2, True), output


@pytest.mark.parametrize(("words", "before"), [("resume", "paused"), ("retry", "done")])
def test_a_run_that_is_cancelled_while_a_command_begins_is_not_brought_back(
    whole, whole_url, services, words, before
):
    state(whole, before)
    with whole.connect() as canceller:
        canceller.execute(text("UPDATE run SET state = 'cancelled'"))
        # The command still reads the state of before, and then waits for the row of the run.
        arguments = [sys.executable, "-m", "orchestrator", words, "whole"]
        urls = {"DATABASE_URL": whole_url, "REDIS_URL": services.redis_url}
        env = {**os.environ, **urls}
        process = subprocess.Popen(
            arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        _wait_for_lock_waiter(whole, process)
        canceller.commit()
    output, _ = process.communicate(timeout=60)
    with transaction(whole) as connection:
        assert runs.latest(connection).state == "cancelled", output
    assert process.returncode == 2, output
    assert "run 'whole' was cancelled, which is for good" in output


def _wait_for_lock_waiter(engine, process):
    waiters = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 60
    while True:
        with engine.connect() as connection:
            if connection.scalar(waiters):
                return
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("before", ["cancelled", "importing"])
def test_the_statement_that_resumes_leaves_a_cancelled_run_as_it_is(whole, before):
    state(whole, before)
    with transaction(whole) as connection:
        run = runs.find(connection, "whole")
        assert not runs.resume(connection, run.id)
        assert runs.get(connection, run.id) == run


def test_only_what_is_not_over_is_cancelled_and_twice_is_once(whole, command):
    assert command("cancel", "whole") == (2, "neurogloss: run 'whole' is done\n")
    state(whole, "paused")
    for _ in range(2):
        assert command("cancel", "whole") == (0, "run whole is cancelled\n")
    assert command("pause", "whole") == (2, "neurogloss: run 'whole' is cancelled\n")
    assert command("verify", "whole")[0] == 0


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("DELETE FROM run", "a single, read-only statement"),
        ("COMMIT; DELETE FROM score", "a single, read-only statement"),
        (
            "COMMIT; BEGIN READ WRITE; DELETE FROM score; COMMIT; SELECT 1",
            "a single, read-only statement",
        ),
        (
            "SELECT 1; COMMIT; BEGIN READ WRITE; DELETE FROM score; COMMIT",
            "a single, read-only statement",
        ),
        ("SET TRANSACTION READ WRITE", "a single, read-only statement"),
        ("DELETE FROM score RETURNING 1", "read-only transaction"),
        ("WITH gone AS (DELETE FROM score RETURNING 1) SELECT 1", "read-only transaction"),
        ("SELECT set_config('transaction_read_only', 'off', false)", "must be set before any"),
        ("EXPLAIN ANALYZE DELETE FROM score", "read-only transaction"),
        ("SELEKT 1", 'syntax error at or near "SELEKT", at character 1'),
        ("", "a single, read-only statement"),
    ],
)
def test_a_query_changes_nothing(whole, command, query, reason):
    code, output = command("sql", query)
    with whole.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM score")) > 0
    assert (code, reason in output) == (2, True), output


def test_a_query_may_hold_percent_signs_and_its_bytes_are_shown_as_psql_does(whole, command):
    query = "SELECT '100 %' AS a, 7 % 4 AS b, '%(x)s' AS c, '\\x00ff'::bytea AS d"
    assert command("sql", query) == (0, "a\tb\tc\td\n100 %\t3\t%(x)s\t\\x00ff\n")
    code, output = command("sql", query, "--json")
    expected = [{"a": "100 %", "b": 3, "c": "%(x)s", "d": "00ff"}]
    assert (code, json.loads(output)) == (0, expected)
    assert command("sql", "SELECT ':x' AS a;") == (0, "a\n:x\n")
    assert command("sql", "SHOW transaction_read_only")[1].endswith("\non\n")


def test_a_value_of_a_query_is_cut_above_one_mebibyte_and_says_so(whole, command):
    query = "SELECT repeat('x', 3000000) AS long, repeat('y', 1048576) AS whole"
    code, output = command("sql", query, "--json")
    (row,) = json.loads(output)
    assert (code, row["whole"]) == (0, "y" * (1 << 20))
    assert row["long"] == "x" * (1 << 20) + "… (cut: 3,000,000 bytes in all)"


def test_a_claim_is_not_given_in_a_cancelled_run(whole):
    state(whole, "cancelled")
    with whole.begin() as connection:
        connection.execute(text("UPDATE shard SET state = 'ready'"))
        shard_id = connection.scalar(text("SELECT min(id) FROM shard"))
        assert shards.claim(connection, shard_id, "w", 60) is None


@pytest.mark.parametrize(("mode", "is_said"), [(0o644, True), (0o640, True), (0o600, False)])
def test_doctor_says_that_others_can_read_keys(command, tmp_path, monkeypatch, mode, is_said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").touch(mode)
    (tmp_path / ".env").chmod(mode)
    code, output = command("doctor")
    assert (code, "chmod 600 .env" in output) == (0, is_said)


def test_the_help_names_the_commands():
    output = CliRunner().invoke(cli, ["--help"]).output
    assert all(name in output for name in ("verify", "cancel", "set"))


def test_a_run_says_since_when_it_is_paused(whole, command):
    state(whole, "running")
    assert command("pause", "whole")[0] == 0
    with transaction(whole) as connection:
        paused_at = runs.latest(connection).paused_at
    assert f"paused since {paused_at.astimezone():%Y-%m-%d %H:%M} (person" in command("status")[1]
    with transaction(whole) as connection:
        assert runs.resume(connection, 1)
        assert runs.latest(connection).paused_at is None


@pytest.mark.parametrize(("before", "after"), [("done", "running"), ("paused", "paused")])
def test_a_retry_leaves_a_paused_run_paused(whole, command, before, after):
    state(whole, before)
    with whole.begin() as connection:
        paused = "UPDATE run SET pause_cause = 'credit', pause_reason = 'none left'"
        connection.execute(text(paused if before == "paused" else "SELECT 1"))
    code, output = command("retry", "whole")
    assert (code, "failures will be tried again" in output) == (0, True), output
    with transaction(whole) as connection:
        run = runs.latest(connection)
        assert connection.scalar(text("SELECT count(*) FROM failure")) == 0
    assert (run.state, run.pause_cause) == (after, "credit" if before == "paused" else None)


def test_a_run_that_another_command_resumed_is_not_said_to_be_done(whole):
    state(whole, "running")
    with transaction(whole) as connection:
        run = runs.latest(connection)
    code, reason = outcome(whole, run.id, run.name)
    assert (code, "another command resumed it" in reason) == (4, True)
