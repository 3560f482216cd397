"""Locks on runs: one holder at a time, whatever lies between a process and the database."""

import time

import pytest
from sqlalchemy import text

from db.run_locks import RunLock
from db.session import transaction

LEASE_S = 1.0


@pytest.fixture
def lock(engine):
    with RunLock(engine, "import", LEASE_S) as lock:
        yield lock


def test_a_lock_has_one_holder_who_keeps_it_beyond_a_lease(engine, run_id, lock):
    assert lock.try_acquire(run_id)
    time.sleep(1.5 * LEASE_S)
    with RunLock(engine, "import", LEASE_S) as other:
        assert not other.try_acquire(run_id)
        assert not other.acquire(run_id)
    with transaction(engine) as connection:
        assert lock.is_held(connection, run_id)


def test_the_end_of_a_block_releases_the_lock(engine, run_id, lock):
    with RunLock(engine, "import") as other:
        assert other.try_acquire(run_id)
        assert not lock.try_acquire(run_id)
    assert lock.try_acquire(run_id)


def test_locks_for_another_purpose_are_others(engine, run_id, lock):
    assert lock.try_acquire(run_id)
    with RunLock(engine, "batches") as other:
        assert other.try_acquire(run_id)


def test_the_lock_of_a_dead_process_is_waited_for(engine, run_id, lock):
    _let_somebody_die_with_it(engine, run_id, LEASE_S)
    assert not lock.try_acquire(run_id)
    assert lock.acquire(run_id)


def test_a_lock_that_has_expired_is_lost_for_good(engine, run_id, lock):
    assert lock.try_acquire(run_id)
    with engine.begin() as connection:
        connection.execute(text("UPDATE run_lock SET expires_at = '-infinity'"))
    time.sleep(0.5 * LEASE_S)  # in which it would have been renewed
    with transaction(engine) as connection:
        assert not lock.is_held(connection, run_id)


def test_a_lock_outlives_the_connections_of_its_holder(engine, run_id, lock):
    assert lock.try_acquire(run_id)
    engine.dispose()  # as a pooler gives each transaction another session
    with RunLock(engine, "import", LEASE_S) as other:
        assert not other.try_acquire(run_id)
    with transaction(engine) as connection:
        assert lock.is_held(connection, run_id)


def _let_somebody_die_with_it(engine, run_id, lease_s):
    statement = """
        INSERT INTO run_lock VALUES
        (:run, 'import', 'dead', clock_timestamp() + :lease * interval '1 second')
    """
    with engine.begin() as connection:
        connection.execute(text(statement), {"run": run_id, "lease": lease_s})
