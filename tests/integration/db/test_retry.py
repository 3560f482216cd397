"""Failures that are tried again, many at once and beside a run that writes."""

import threading
import time

import pytest
from sqlalchemy import text

from db import progress, results, retry, shards
from db.results import FailureRow
from db.session import transaction
from tests.support.shards import claim

FIRST_NEURONS, OTHER_NEURONS = (0, 1), (2, 3)


def failures_of(run_id, neurons, stage):
    return [FailureRow(run_id, stage, 0, n, "refused", "no", 1, None) for n in neurons]


@pytest.fixture
def failed(engine, run_id):
    """The first neurons failed in `explain`, the others in `simulate` and, one, in `score`."""
    with engine.begin() as connection:
        for neurons, stage in (
            (FIRST_NEURONS, "explain"),
            (OTHER_NEURONS, "simulate"),
            (OTHER_NEURONS[:1], "score"),
        ):
            results.failures.save(connection, failures_of(run_id, neurons, stage))
        connection.execute(text("UPDATE shard SET state = 'done'"))
        for (shard,) in connection.execute(text("SELECT id FROM shard ORDER BY id")).all():
            progress.count_shard(connection, shard)
    return run_id


def shown(connection):
    rows = connection.execute(
        text("SELECT stage, start, state, done, failed FROM shard ORDER BY start, id")
    )
    return [tuple(row) for row in rows]


def counters(connection):
    return {
        row.stage: (row.done, row.failed)
        for row in connection.execute(text("SELECT stage, done, failed FROM progress"))
    }


def test_the_first_stage_that_failed_opens_and_later_ones_wait(engine, failed):
    with engine.begin() as connection:
        assert counters(connection) == {"explain": (2, 2), "simulate": (0, 4), "score": (0, 4)}
        assert retry.retry_failures(connection, failed) == 5
        assert shown(connection) == [
            ("explain", 0, "ready", 0, 0),
            ("simulate", 0, "waiting", 0, 0),
            ("score", 0, "waiting", 0, 0),
            ("explain", 2, "done", 2, 0),
            ("simulate", 2, "ready", 0, 0),
            ("score", 2, "waiting", 0, 0),
        ]
        assert counters(connection) == {"explain": (2, 0), "simulate": (0, 0), "score": (0, 0)}
        assert retry.retry_failures(connection, failed) == 0


def test_only_what_was_chosen_is_forgotten(engine, failed):
    with engine.begin() as connection:
        assert retry.retry_failures(connection, failed, layer=1) == 0
        assert retry.retry_failures(connection, failed, failure_class="malformed") == 0
        assert retry.retry_failures(connection, failed, stage="simulate") == 2
        left = connection.execute(text("SELECT stage, neuron FROM failure ORDER BY stage, neuron"))
        assert left.all() == [("explain", 0), ("explain", 1), ("score", 2)]
        assert results.retries(connection, failed, "simulate", 0, 0, 4) == {2: 1, 3: 1}


def test_every_retry_counts(engine, run_id):
    for times in (1, 2):
        with engine.begin() as connection:
            results.failures.save(connection, failures_of(run_id, FIRST_NEURONS, "explain"))
            assert retry.retry_failures(connection, run_id) == 2
            assert results.retries(connection, run_id, "explain", 0, 0, 4) == {0: times, 1: times}


def test_many_failures_are_few_statements(engine, failed):
    statements = []
    with engine.begin() as connection:
        execute = connection.execute
        connection.execute = lambda query, *values: (
            statements.append(query) or execute(query, *values)
        )
        retry.retry_failures(connection, failed)
    assert len(statements) < 10


def test_retries_and_commits_wait_for_each_other_and_do_not_deadlock(engine, run_id):
    end, committed, errors = time.monotonic() + 3, [], []

    def commit():
        held = claim(engine)
        if held is None:
            return
        with transaction(engine) as connection:
            if shards.finish(connection, held):
                time.sleep(0.005)
                failures = failures_of(run_id, FIRST_NEURONS, "explain")
                results.failures.save(connection, failures)
                progress.count_shard(connection, held.shard_id)
                committed.append(held)

    def try_again():
        with transaction(engine) as connection:
            retry.retry_failures(connection, run_id)

    def repeated(action):
        try:
            while time.monotonic() < end:
                action()
        except Exception as error:  # it is shown by the assertion
            errors.append(error)

    actions = (commit, try_again, try_again)
    threads = [threading.Thread(target=repeated, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, len(committed) > 3) == ([], True)
