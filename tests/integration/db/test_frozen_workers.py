"""What others do while a process is frozen inside a transaction, whose locks it keeps."""

import threading
import time
from contextlib import contextmanager

import pytest
from celery.canvas import Signature
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db import batch_requests, batches, runs, shard_readiness, shards
from db.session import LONG, Patience, is_away, is_too_long, make_engine, transaction, with_patience
from neurogloss.errors import LeaseLost
from orchestrator.dispatch import tick
from tests.support.shards import LEASE_S, claim, first_shard
from worker.held_shards import HeldShards
from worker.shard import ClaimedShard, Lease

ROLE = {"endpoint": "here", "model": "m"}
CONFIG = {
    "name": "r",
    "corpus": {"source": "s"},
    "explainer": ROLE,
    "simulator": {"kind": "json", **ROLE},
    "endpoints": {"here": {"base_url": "http://127.0.0.1:1/v1"}},
}


@contextmanager
def frozen(engine, query="SELECT FROM shard WHERE id = (SELECT min(id) FROM shard) FOR UPDATE"):
    """Hold what a query locks, as a process does that is frozen after it."""
    with engine.connect() as connection, connection.begin():
        connection.execute(text(query))
        yield


@pytest.fixture
def impatient(engine):
    """An engine whose statements fail that wait for a lock."""
    return with_patience(engine, Patience(idle_s=10, lock_s=0.5))


@pytest.fixture
def sent(monkeypatch):
    """The shards that a dispatcher sends messages about."""
    found = []
    monkeypatch.setattr(Signature, "apply_async", lambda message, **_: found.append(message))
    return found


def claimed(engine, run_id, lease_s=LEASE_S):
    lease = Lease(threading.Event(), time.monotonic() + lease_s)
    return ClaimedShard(engine, claim(engine, lease_s=lease_s), None, None, lease)


def states(engine):
    with engine.connect() as connection:
        return dict(connection.execute(text("SELECT id, state FROM shard")).all())


def test_a_tick_does_not_wait_for_a_shard_that_is_being_committed(engine, run_id, sent):
    claim(engine, lease_s=-1)
    with engine.begin() as connection:
        runs.update_limits(connection, run_id, CONFIG)
    began = time.monotonic()
    with frozen(engine):
        assert tick(engine, run_id, LEASE_S) == "running"
        assert time.monotonic() - began < 4
        assert states(engine)[first_shard(engine)] == "leased"
        assert len(sent) == 1  # of the other shard, which nobody holds
    assert tick(engine, run_id, LEASE_S) == "running"
    assert states(engine)[first_shard(engine)] == "queued"


@pytest.mark.parametrize("stage", ["collect", "explain", "simulate"])
def test_what_may_begin_is_opened_beside_a_shard_that_somebody_holds(
    engine, run_id, impatient, stage
):
    with engine.begin() as connection:
        before = "UPDATE shard SET state = 'done' WHERE stage = 'explain'"
        connection.execute(text(before if stage == "simulate" else "SELECT 1"))
        opened = "UPDATE shard SET stage = :stage, state = 'waiting' WHERE stage = :old"
        old = "simulate" if stage == "simulate" else "explain"
        connection.execute(text(opened), {"stage": stage, "old": old})
    lock = f"SELECT FROM shard WHERE stage = '{stage}' ORDER BY id LIMIT 1 FOR UPDATE"
    with frozen(engine, lock), transaction(impatient) as connection:
        assert shard_readiness.open_ready(connection, run_id) >= 1


def test_a_shard_that_is_being_committed_is_not_claimed_and_nobody_waits_for_it(
    engine, run_id, impatient
):
    with frozen(engine):
        assert claim(impatient) is None
    assert claim(impatient) is not None


def test_a_run_that_somebody_holds_gets_its_batches_and_its_end_later(engine, run_id, impatient):
    with frozen(engine, "SELECT FROM run FOR UPDATE"), transaction(impatient) as connection:
        assert not batches.take_turn(connection, run_id, 1)
        assert not runs.finish(connection, run_id)
        assert batch_requests.withdraw(connection, run_id, []) == 0
    with transaction(impatient) as connection:
        assert batches.take_turn(connection, run_id, 1)
        assert runs.finish(connection, run_id)


def test_leases_are_renewed_while_another_shard_of_the_process_is_committed(engine, run_id):
    engine = with_patience(engine, Patience(idle_s=10, lock_s=0.5))
    held = HeldShards()
    ours = [claimed(engine, run_id)]
    with engine.begin() as connection:
        other = shards.claim(connection, ours[0].claim.shard_id + 1, "w", LEASE_S)
    ours.append(ClaimedShard(engine, other, None, None, Lease(threading.Event(), time.monotonic())))
    for shard in ours:
        held.add(shard)
    with ours[0].committing():
        ours[0].lease.renew(time.monotonic())
        held.renew(engine, LEASE_S)
        assert not any(shard.lease.has_ended() for shard in ours)


def test_a_lease_on_a_row_that_another_holds_is_neither_renewed_nor_ended(engine, run_id):
    engine = with_patience(engine, Patience(idle_s=10, lock_s=0.5))
    held, shard = HeldShards(), claimed(engine, run_id)
    held.add(shard)
    with frozen(engine):
        held.renew(engine, LEASE_S)
        assert not shard.lease.has_ended()
        shard.lease.renew(time.monotonic())
        held.renew(engine, LEASE_S)
        assert shard.lease.has_ended()
    held.renew(engine, LEASE_S)
    assert not shard.lease.has_ended()


def test_a_shard_that_is_claimed_again_is_remembered_when_its_older_thread_ends(engine, run_id):
    held, older = HeldShards(), claimed(engine, run_id, lease_s=-1)
    held.add(older)
    newer = claimed(engine, run_id)
    held.add(newer)
    held.drop(older)
    held.renew(engine, LEASE_S)
    assert (len(held), older.lease.has_ended(), newer.lease.has_ended()) == (1, True, False)
    with pytest.raises(LeaseLost), older.committing():
        pytest.fail("the older claim is void")
    held.drop(newer)
    assert len(held) == 0


def test_what_a_process_holds_that_was_frozen_is_free_again_after_its_patience(
    database_url, engine, run_id
):
    worker = make_engine(database_url, patience=Patience(idle_s=0.5, lock_s=1))
    with pytest.raises(DBAPIError) as raised, transaction(worker) as connection:
        connection.execute(text("SELECT FROM shard FOR UPDATE"))
        time.sleep(1.5)
        assert claim(engine) is not None
        connection.execute(text("SELECT 1"))
    assert is_away(raised.value)
    worker.dispose()


def test_a_statement_waits_for_a_lock_and_works_no_longer_than_its_patience(
    database_url, engine, run_id
):
    worker = make_engine(database_url, patience=Patience(idle_s=10, lock_s=0.3, statement_s=1))
    with (
        frozen(engine),
        pytest.raises(DBAPIError) as waited,
        transaction(worker) as connection,
    ):
        connection.execute(text("UPDATE shard SET attempts = 0"))
    assert is_away(waited.value)
    with pytest.raises(DBAPIError) as worked, transaction(worker) as connection:
        connection.execute(text("SELECT pg_sleep(5)"))
    assert is_too_long(worked.value) and not is_away(worked.value)
    worker.dispose()


def test_the_patience_of_a_lease_bounds_everything_and_that_of_commands_lets_them_work(
    database_url,
):
    shown = [
        f"SHOW {name}"
        for name in ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")
    ]

    def settings(patience):
        engine = make_engine(database_url, patience=patience)
        with transaction(engine) as connection:
            inside = [connection.scalar(text(query)) for query in shown]
        with engine.connect() as connection:  # a pooler may give the session to others
            after = [connection.scalar(text(query)) for query in shown]
        engine.dispose()
        assert after == ["0", "0", "0"]
        return inside

    assert settings(Patience.of_lease(120)) == ["2min", "1min", "4min"]
    assert settings(LONG) == ["1h", "0", "0"]
