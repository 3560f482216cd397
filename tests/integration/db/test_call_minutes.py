"""Calls by the minute: counted with the answers, once, whichever way these are stored."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from db import call_minutes
from db.call_minutes import LATENCY_BOUNDS_MS, latency_quantile, summed
from db.session import transaction
from neurogloss.errors import (
    AnswerTimeout,
    NoCredit,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
)
from tests.support.calls import ANSWER, questions
from worker.ledger import PostgresLedger
from worker.unanswered import StoredUnanswered

ANSWERS = [
    ANSWER,
    replace(ANSWER, identity=b"j" * 32, latency_ms=999, cached_tokens=0),
    replace(ANSWER, identity=b"k" * 32, latency_ms=99_000, refusal="I will not"),
    replace(ANSWER, identity=b"l" * 32, finish_reason="length"),
    replace(ANSWER, identity=b"m" * 32, purpose="simulate", model="other 'model'", usd=1e-7),
]


def totals(engine, run_id):
    with transaction(engine) as connection:
        found = call_minutes.totals(connection, run_id)
    return {(count.stage, count.model, count.outcome): count for count in found}


@pytest.mark.parametrize("at_once", [True, False])
def test_answers_are_counted_by_what_they_came_to(engine, run_id, at_once):
    ledger = PostgresLedger(engine, run_id)
    if at_once:
        ledger.save(ANSWERS)
    else:
        with transaction(engine) as connection:
            ledger.save_in(connection, ANSWERS)
    ledger.close()
    found = totals(engine, run_id)
    assert {key: count.calls for key, count in found.items()} == {
        ("explain", "m", "answered"): 2,
        ("explain", "m", "refused"): 1,
        ("explain", "m", "truncated"): 1,
        ("simulate", "other 'model'", "answered"): 1,
    }
    answered = found["explain", "m", "answered"]
    assert (answered.prompt_tokens, answered.cached_tokens, answered.completion_tokens) == (
        20,
        4,
        4,
    )
    assert answered.usd == 2 * (0.5 + 0.25)  # with what was wasted
    assert answered.latency_ms == 30 + 999
    assert answered.latency_counts == (1, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    assert found["explain", "m", "refused"].latency_counts[-1] == 1


def test_an_answer_that_is_stored_again_is_not_counted_again(engine, run_id):
    ledger = PostgresLedger(engine, run_id)
    for _ in range(3):
        ledger.save([ANSWER])
    ledger.save([replace(ANSWER, request_id="another", latency_ms=7)])
    ledger.close()
    assert totals(engine, run_id)["explain", "m", "answered"].calls == 2


@pytest.mark.parametrize("answers", [[], [ANSWER], [ANSWER, ANSWER]])
def test_requests_without_an_answer_are_stored_with_the_next_one_or_at_the_end(
    engine, run_id, answers
):
    unanswered = StoredUnanswered(engine, run_id, "p")
    ledger = PostgresLedger(engine, run_id, unanswered.calls)
    (call,) = questions(1)
    for answer in answers:  # the second one cannot be stored at once
        unanswered.failed(call, b"1", "here", RateLimited(1.0))
        ledger.save([answer])
    unanswered.failed(call, b"1", "here", RateLimited(1.0))
    unanswered.failed(call, b"1", "here", ServiceUnavailable("500"))
    unanswered.failed(call, b"1", "here", AnswerTimeout("not complete after 9 s"))
    unanswered.failed(call, b"1", "here", RequestRejected("not this"))
    unanswered.failed(call, b"1", "here", NoCredit("which is about the run"))
    ledger.close()
    unanswered.close()
    found = totals(engine, run_id)
    assert found["explain", "rehearsal", "rate_limited"].calls == len(answers) + 1
    for outcome in ("unavailable", "timeout", "rejected"):
        assert found["explain", "rehearsal", outcome].calls == 1
    assert len(found) == 4 + bool(answers)
    assert sum(found["explain", "rehearsal", "unavailable"].latency_counts) == 0


def test_counts_of_writers_at_once_add_up(engine, run_id):
    def store(writer):
        ledger = PostgresLedger(engine, run_id)
        for number in range(25):
            purpose = ("explain", "simulate")[number % 2]
            identity = bytes([writer, number]) * 16
            both = [
                replace(ANSWER, identity=identity, purpose=purpose),
                replace(ANSWER, identity=identity[::-1] + b"!", refusal="no"),
            ]
            ledger.save(both[:: 1 if writer % 2 else -1])
        ledger.close()

    threads = [threading.Thread(target=store, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = totals(engine, run_id)
    assert sum(count.calls for count in found.values()) == 200
    for count in found.values():
        assert sum(count.latency_counts) == count.calls


def test_spans_add_minutes_up(engine, run_id):
    ledger = PostgresLedger(engine, run_id)
    ledger.save(ANSWERS)
    ledger.close()
    with engine.begin() as connection:
        for minutes in (7, 8, 200):
            connection.execute(
                text("""
                    INSERT INTO call_minute
                    SELECT run_id, minute - :ago * interval '1 minute', stage, endpoint, model,
                           outcome, calls, prompt_tokens, cached_tokens, completion_tokens, usd,
                           latency_ms, latency_counts
                    FROM call_minute WHERE minute > now() - interval '2 minutes'
                """),
                {"ago": minutes},
            )
        spans = call_minutes.spans(connection, run_id, timedelta(minutes=60), timedelta(minutes=5))
    starts = [span.start for span in spans]
    assert starts == sorted(starts)
    assert all(start.minute % 5 == 0 for start in starts)
    (all_calls,) = summed((span.calls for span in spans), by=())
    assert all_calls.calls == 3 * len(ANSWERS)


def test_quantiles_of_latencies_lie_within_their_bucket():
    none = (0,) * (len(LATENCY_BOUNDS_MS) + 1)
    assert latency_quantile(none, 0.5) is None
    quick = (10, *none[1:])
    assert latency_quantile(quick, 0.5) == 125
    slow = (*none[:-1], 4)
    assert latency_quantile(slow, 0.5) == LATENCY_BOUNDS_MS[-1]
    mixed = (0, 0, 5, 0, 0, 5, 0, 0, 0, 0)
    assert latency_quantile(mixed, 0.5) == 1000
    assert 4000 < latency_quantile(mixed, 0.95) < 8000
