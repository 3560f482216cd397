"""What a worker or a dispatcher does when the ground gives way, one protection at a time."""

import threading
import time

import psycopg2
import pytest
from celery.canvas import Signature
from sqlalchemy import create_engine, event, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from db import heartbeats, progress, runs, shards
from db.session import is_away, transaction
from db.tables.runs import run_table
from neurogloss.config.run import RunConfig
from orchestrator.dispatch import tick
from tests.support.calls import answer
from tests.support.shards import LEASE_S, claim, first_shard
from worker.ledger import PostgresLedger
from worker.outages import retry_while_db_down
from worker.shard import Lease


def spent(engine):
    query = text("SELECT calls, usd, wasted_usd FROM spend")
    stored = text("SELECT count(*), sum(usd), sum(wasted_usd) FROM call")
    with engine.connect() as connection:
        return connection.execute(query).one(), connection.execute(stored).one()


def end_backends(engine):
    query = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    other = create_engine(engine.url)
    with other.begin() as connection:
        connection.execute(text(query))
    other.dispose()


@pytest.mark.parametrize(
    ("statement", "away"),
    [
        pytest.param("SELECT pg_terminate_backend(pg_backend_pid())", True, id="cut off"),
        pytest.param("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END$$", True, id="full"),
        pytest.param("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END$$", True, id="clash"),
        pytest.param("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '54000'; END$$", False, id="big"),
        pytest.param("SELECT nonsense", False, id="a mistake of ours"),
    ],
)
def test_an_outage_is_told_from_a_fault_of_the_statement(engine, statement, away):
    with pytest.raises(DBAPIError) as raised, engine.begin() as connection:
        connection.execute(text(statement))
    assert is_away(raised.value) == away


def test_a_database_that_cannot_be_reached_is_away():
    nowhere = create_engine("postgresql+psycopg2://nobody@127.0.0.1:9/x")
    with pytest.raises(OperationalError) as raised, nowhere.connect():
        pytest.fail("there is nothing")
    assert is_away(raised.value)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (psycopg2.DatabaseError("error with status PGRES_TUPLES_OK and no message"), True),
        (psycopg2.ProgrammingError("no results to fetch"), False),
    ],
)
def test_an_answer_that_ended_halfway_is_an_outage(error, away):
    assert is_away(DBAPIError.instance("SELECT 1", {}, error, psycopg2.Error)) == away


def test_a_bulk_write_that_is_cut_off_is_an_outage(engine, run_id):
    with pytest.raises(DBAPIError) as raised, transaction(engine) as connection:
        connection.execute(text("SELECT 1"))
        end_backends(engine)
        PostgresLedger(engine, run_id).save_in(connection, [answer(1)])
    assert is_away(raised.value)


def test_a_ledger_is_closed_whose_connection_broke_and_leaves_no_place_in_the_pool_taken(
    engine, run_id
):
    for number in range(15):  # more than the pool has
        ledger = PostgresLedger(engine, run_id)
        ledger.save([answer(number)])
        end_backends(engine)
        ledger.close()
    assert engine.pool.checkedout() == 0
    assert spent(engine)[0].calls == 15


def test_waiting_for_the_database_ends_when_the_worker_is_to_stop():
    stop, tries = threading.Event(), []

    def fail():
        tries.append(time.monotonic())
        if len(tries) == 2:
            threading.Timer(0.1, stop.set).start()
        raise OperationalError("SELECT 1", None, Exception("no route"))

    with pytest.raises(OperationalError):
        retry_while_db_down(fail, stop)
    assert len(tries) >= 2


@pytest.fixture
def a_lost_word(engine):
    """A list of how often the word of a commit of answers got lost, which it does once."""
    lost = []

    @event.listens_for(engine, "after_cursor_execute")
    def lose_the_word(connection, cursor, statement, *_):
        if not lost and "INSERT INTO call" in statement:
            lost.append(statement)
            end_backends(engine)
            cursor.execute("SELECT pg_sleep(60)")

    return lost


def test_an_answer_whose_commit_got_lost_is_counted_once(engine, run_id, a_lost_word):
    PostgresLedger(engine, run_id).save([answer(1), answer(2)])
    assert len(a_lost_word) == 1
    counted, stored = spent(engine)
    assert tuple(counted) == tuple(stored) == (2, 2.0, 0.0)


def test_an_answer_whose_commit_got_lost_twice_is_counted_once(engine, run_id, a_lost_word):
    breaks = iter([True])

    @event.listens_for(engine, "commit")
    def lose_the_word(connection):
        if next(breaks, False):
            connection.connection.commit()
            raise OperationalError("COMMIT", None, Exception("the connection broke"))

    PostgresLedger(engine, run_id).save([answer(1), answer(2)])
    assert len(a_lost_word) == 1 and not next(breaks, False)
    counted, stored = spent(engine)
    assert tuple(counted) == tuple(stored) == (2, 2.0, 0.0)


def test_a_ledger_outlives_the_connection_that_it_keeps(engine, run_id):
    ledger = PostgresLedger(engine, run_id)
    ledger.save([answer(1)])
    end_backends(engine)
    ledger.save([answer(2)])
    ledger.save([answer(3)])
    counted, stored = spent(engine)
    assert tuple(counted) == tuple(stored) == (3, 3.0, 0.0)


def test_a_lease_ends_by_itself_and_with_its_process():
    stop = threading.Event()
    lease = Lease(stop, time.monotonic() + LEASE_S)
    assert not lease.has_ended()
    lease.renew(time.monotonic())
    assert lease.has_ended()
    lease.renew(time.monotonic() + LEASE_S)
    assert not lease.has_ended()
    stop.set()
    assert lease.has_ended()


def test_a_message_that_is_dropped_lets_the_shard_be_queued_at_once(engine, run_id):
    with engine.begin() as connection:
        assert len(shards.queue(connection, run_id, ["explain"], 1, LEASE_S)) == 1
        shards.unqueue(connection, first_shard(engine))
        assert len(shards.queue(connection, run_id, ["explain"], 1, LEASE_S)) == 1
    held = claim(engine)
    with engine.begin() as connection:
        shards.unqueue(connection, held.shard_id)
        assert shards.renew(connection, [held], LEASE_S) == {held.shard_id}


def test_a_shard_of_a_dead_worker_says_whose_it_was(engine, run_id):
    claim(engine, "api-7", lease_s=-1)
    with engine.begin() as connection:
        shards.sweep(connection, run_id)
        query = text("SELECT error FROM shard WHERE id = :id")
        error = connection.scalar(query, {"id": first_shard(engine)})
    assert error == "api-7 was not heard of any more"


@pytest.fixture
def sent(monkeypatch):
    """The shards that a dispatcher sends messages about."""
    found = []
    monkeypatch.setattr(Signature, "apply_async", lambda message, **_: found.append(message))
    return found


def make_poisonous(engine, shard_id):
    with engine.begin() as connection:
        query = text("UPDATE shard SET state = 'ready', attempts = :n, error = 'bad' WHERE id = :i")
        connection.execute(query, {"n": shards.MAX_ATTEMPTS, "i": shard_id})


def test_shards_of_a_worker_that_died_are_taken_back_though_the_run_is_paused(engine, run_id, sent):
    set_config(engine)
    lease = (
        "UPDATE shard SET state = 'leased', worker = 'w', lease_until = now() + :s * interval '1 s'"
    )
    with engine.begin() as connection:
        connection.execute(text(lease), {"s": 60})
        runs.pause(connection, run_id, "person", "")
        assert [run.id for run in runs.attended(connection)] == [run_id]
    assert tick(engine, run_id, LEASE_S) == "running"  # they may have answers to store
    with engine.begin() as connection:
        connection.execute(text(lease), {"s": -1})
    assert tick(engine, run_id, LEASE_S) == "paused"
    with engine.begin() as connection:
        states = connection.scalars(text("SELECT DISTINCT state FROM shard")).all()
        assert (states, runs.attended(connection), sent) == (["ready"], [], [])


def test_a_poisonous_shard_is_parked_and_the_others_go_on(engine, run_id, sent):
    set_config(engine)
    make_poisonous(engine, first_shard(engine))
    assert tick(engine, run_id, LEASE_S) == "running"
    assert len(sent) == 1
    with engine.begin() as connection:
        (failure,) = progress.failures(connection, "r")
    assert (failure.n, failure.failure_class, failure.example) == (2, "error", "bad")


def test_a_poisonous_shard_of_collect_lets_the_rest_end_before_the_run_is_paused(
    engine,
    run_id,
    sent,
):
    set_config(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE shard SET stage = 'collect', step = 'read', state='ready'"))
        query = "UPDATE shard SET state = 'waiting' WHERE id > (SELECT min(id) + 1 FROM shard)"
        connection.execute(text(query))
    make_poisonous(engine, first_shard(engine))
    assert [tick(engine, run_id, LEASE_S) for _ in range(2)] == ["running", "running"]
    assert sent
    with engine.begin() as connection:
        connection.execute(text("UPDATE shard SET state = 'done' WHERE error IS NULL"))
    tick(engine, run_id, LEASE_S)
    assert tick(engine, run_id, LEASE_S) == "paused"
    with engine.begin() as connection:
        assert runs.get(connection, run_id).pause_reason == "collecting failed 5 times: bad"


def set_config(engine):
    with engine.begin() as connection:
        lookup = {"kind": "lookup"}
        config = RunConfig(name="r", explainer=lookup, simulator=lookup)
        connection.execute(update(run_table).values(config=config.model_dump(mode="json")))


def test_a_worker_that_died_long_ago_is_listed_no_longer(engine):
    with transaction(engine) as connection:
        for name, hours in (("lately", 23), ("long ago", 25)):
            heartbeats.beat(connection, name, "api", "here", 0)
            since = text("UPDATE worker SET heartbeat_at = now() - :h * interval '1 hour'"
                         " WHERE worker = :w")  # fmt: skip
            connection.execute(since, {"h": hours, "w": name})
        heartbeats.forget_dead(connection)
        assert connection.scalars(text("SELECT worker FROM worker")).all() == ["lately"]
