"""Cancelling the batches of a run."""

import threading
import time

from sqlalchemy import text

from db import batches
from db.session import transaction
from tests.support.calls import questions
from worker.shard import RunJob
from worker.stages.batches.cancel import cancel_batches


def test_batches_are_cancelled_and_what_they_answered_is_stored(start):
    batched = start(seconds=3600.0, limits={"max_lines": 2})
    assert batched.ask(questions(5)) is None
    batched.advance()
    with transaction(batched.engine) as connection:
        assert len(batches.under_way(connection, batched.run_id)) == 3
    left = cancel_all(batched)
    assert left == 0
    with transaction(batched.engine) as connection:
        assert batches.under_way(connection, batched.run_id) == []
        assert connection.scalar(text("SELECT count(*) FROM budget_hold")) == 0
    outcomes = {outcome for _, outcome, *_ in batched.rows()}
    assert outcomes == {"cancelled"}


def test_answers_of_a_batch_that_is_half_done_are_stored_when_it_is_cancelled(start):
    batched = start(seconds=2.0)
    assert batched.ask(questions(40)) is None
    batched.advance()
    deadline = time.monotonic() + 20
    while not (0 < batched.server.stats()["answered"] < 40):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cancel_all(batched)
    answered = batched.server.stats()["answered"]
    assert 0 < answered <= 40
    assert batched.scalar("SELECT count(*) FROM call") == answered


def test_a_batch_whose_id_nobody_has_stored_is_found_and_cancelled(start):
    batched = start(seconds=3600.0)
    assert batched.ask(questions(2)) is None
    batched.advance()
    with batched.engine.begin() as connection:
        connection.execute(text("UPDATE batch SET state = 'uploaded', batch_id = NULL"))
    assert cancel_all(batched) == 0
    assert [row[:2] for row in batched.rows()] == [("ended", "cancelled")]


def cancel_all(batched):
    errand = RunJob(batched.engine, batched.run_id, batched.config, threading.Event())
    deadline = time.monotonic() + 20
    while (left := cancel_batches(errand)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left
