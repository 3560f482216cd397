"""The ledger of calls where an answer comes twice, or is stored twice, or in another way."""

import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from db import calls, progress
from db.session import is_away, transaction
from tests.support.calls import ANSWER, call_row
from worker.ledger import PostgresLedger, spend_of

LATER = replace(ANSWER, text="other words", latency_ms=31, request_id="second", usd=0.125)


@pytest.fixture
def ledger(whole):
    with whole.begin() as connection:
        connection.execute(text("DELETE FROM spend"))
    return PostgresLedger(whole, 1)


def spent(engine):
    with transaction(engine) as connection:
        query = "SELECT calls, prompt_tokens, usd, wasted_usd FROM spend WHERE model = 'm'"
        return tuple(connection.execute(text(query)).one())


def test_an_answer_whose_commit_nobody_heard_of_is_paid_once(whole, ledger):
    for _ in range(3):
        ledger.save([ANSWER])
    assert spent(whole) == (1, 10, 0.5, 0.25)


def test_a_second_answer_is_paid_in_vain_and_the_first_stands(whole, ledger):
    ledger.save([ANSWER])
    for _ in range(2):
        ledger.save([LATER])
    assert spent(whole) == (2, 20, 0.5, 0.25 + 0.125 + 0.25)
    assert ledger.find([ANSWER.identity])[ANSWER.identity].text == "words"


def test_answers_that_neither_database_nor_disk_take_end_as_the_outage_that_it_is(caplog):
    """So the shard is given back, in place of failing as by a defect."""

    def no_room(answers):
        raise OSError("the spool is full")

    nobody = create_engine("postgresql+psycopg2://nobody@127.0.0.1:9/none")
    stop = threading.Event()
    stop.set()
    with pytest.raises(OperationalError) as raised:
        PostgresLedger(nobody, 1, stop, no_room).save([ANSWER])
    assert is_away(raised.value)
    assert [(r.msg, r.answers, r.reason) for r in caplog.records if r.levelname == "ERROR"] == [
        ("paid answers not kept", 1, "the spool is full")
    ]


def test_who_asks_what_another_run_has_asked_pays_for_it(whole, ledger):
    ledger.save([ANSWER])
    with whole.begin() as connection:
        connection.execute(
            text("""
            INSERT INTO run (name, config, config_hash, corpus_id, n_layers, neurons_per_layer)
            SELECT 'other', config, config_hash, corpus_id, n_layers, neurons_per_layer FROM run
        """)
        )
    PostgresLedger(whole, 2).save([ANSWER])
    with transaction(whole) as connection:
        rows = connection.execute(
            text("SELECT run_id, usd, wasted_usd FROM spend WHERE model = 'm' ORDER BY 1")
        )
        assert [tuple(row) for row in rows] == [(1, 0.5, 0.25), (2, 0.0, 0.75)]


def test_answers_are_told_apart_within_one_store(whole, ledger):
    fresh = replace(ANSWER, identity=b"j" * 32)
    ledger.save([ANSWER])
    with transaction(whole) as connection:
        rows = [call_row(1, answer) for answer in (LATER, fresh)]
        assert calls.save(connection, rows) == ({fresh.identity}, {LATER.identity})


MIXED = [
    replace(ANSWER, identity=b"\x00\\%s:x'\"" + b"k" * 24, text="a\0b \ud83d % %s :x '\\"),
    replace(ANSWER, identity=b"l" * 32, purpose="simulate", usd=1e-7, distributions=b"\x00\xff'\\"),
    replace(ANSWER, identity=b"m" * 32, finish_reason=None, request_id=None, refusal="no", usd=0.1),
    replace(ANSWER, identity=b"n" * 32, model="another", usd=0.0, wasted_usd=0.1 + 0.2),
]


def take_all(engine):
    """Return the answers and the spend of the ledger, and delete them."""
    with engine.begin() as connection:
        answers = "DELETE FROM call RETURNING to_jsonb(call) - 'created_at'"
        spend = "DELETE FROM spend RETURNING to_jsonb(spend)"
        return [sorted(connection.scalars(text(q)), key=str) for q in (answers, spend)]


def test_what_is_stored_at_once_is_what_a_transaction_stores(whole, ledger):
    take_all(whole)
    ledger.save(MIXED)
    at_once = take_all(whole)
    with transaction(whole) as connection:
        ledger.save_in(connection, MIXED)
    assert take_all(whole) == at_once
    assert [len(rows) for rows in at_once] == [4, 3]


def test_who_waits_for_the_answer_of_another_does_not_lock_what_that_one_pays(whole, ledger):
    other = replace(ANSWER, identity=b"o" * 32)
    ledger.save([other])  # the row of the spend is there
    with whole.begin() as connection:
        calls.save(connection, [call_row(1, ANSWER)])
        waiting = threading.Thread(target=ledger.save, args=([LATER],))
        waiting.start()
        wait_for_a_lock(whole)
        connection.execute(text("SELECT * FROM spend FOR UPDATE NOWAIT"))
        progress.add_spend(connection, 1, spend_of([ANSWER]))
    waiting.join()
    assert spent(whole) == (3, 30, 1.0, 0.25 + 0.25 + 0.125 + 0.25)


def wait_for_a_lock(engine):
    query = text("""
        SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database()
    """)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.execute(query).scalar():
                return
        time.sleep(0.01)
    pytest.fail("nobody waits")


def test_what_comes_after_the_end_is_stored_and_keeps_no_connection(whole, ledger):
    ledger.save([ANSWER])
    assert whole.pool.checkedout() == 1
    ledger.close()
    ledger.save([replace(ANSWER, identity=b"p" * 32)])
    assert whole.pool.checkedout() == 0
    assert spent(whole) == (2, 20, 1.0, 0.5)


def test_who_stores_the_same_answers_in_another_order_does_not_deadlock(whole):
    answers = [replace(ANSWER, identity=bytes([n]) * 32) for n in range(2, 40)]
    found = []

    def store(some):
        ledger = PostgresLedger(whole, 1)
        for _ in range(10):
            ledger.save(some)
        ledger.close()
        found.append(True)

    threads = [threading.Thread(target=store, args=(some,)) for some in (answers, answers[::-1])]
    before = deadlocks(whole)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True, True]
    assert deadlocks(whole) == before


def deadlocks(engine):
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    with engine.begin() as connection:
        return connection.scalar(text(query))
