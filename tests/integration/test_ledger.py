"""The ledger of calls where an answer comes twice, or is stored twice."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from db import calls
from db.session import transaction
from tests.integration.calls import ANSWER
from worker.stages.ledger import PostgresLedger

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
        rows = [ledger._row(answer) for answer in (LATER, fresh)]
        assert calls.save(connection, rows) == ({fresh.identity}, {LATER.identity})
