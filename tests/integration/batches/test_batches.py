"""The batches of a run, against the rehearsal server, with a crash wherever one may happen."""

import time

import httpx
import pytest
from sqlalchemy import text

from db import batch_requests, batches, progress
from db.run_locks import RunLock
from db.session import transaction
from neurogloss.errors import BudgetReached, ContextTooSmall, RequestRejected, Unavailable
from neurogloss.llm.batch_client import BatchClient
from neurogloss.llm.calls import Answer
from rehearsal.capabilities import Capabilities
from rehearsal.faults import FaultRates
from tests.support.batched_run import Batched
from tests.support.calls import questions


class Crash(Exception):
    """The process dies here."""


def test_a_shard_waits_for_its_batch_and_reads_its_answers_for_half_the_price(start):
    run = start()
    calls = questions(20)
    assert run.ask(calls) is None
    assert not run.is_ready()
    assert run.scalar("SELECT attempts FROM shard ORDER BY id LIMIT 1") == 0
    answers = _after_waiting(run, calls)
    assert all(isinstance(answer, Answer) for answer in answers)
    stats = run.server.stats()
    assert (stats["batches"], stats["answered"], stats["repeated_questions"]) == (1, 20, 0)
    with transaction(run.engine) as connection:
        spent = progress.spent(connection, run.run_id)
    assert spent == pytest.approx(stats["usd"])
    full = sum(run.endpoint.price("rehearsal").cost(a.prompt_tokens, 0, a.completion_tokens)
               for a in answers)  # fmt: skip
    assert spent == pytest.approx(full / 2)
    assert run.rows()[0][:3] == ("ended", "completed", 20)
    assert run.leaves_nothing()
    file_id = run.scalar("SELECT file_id FROM batch")
    assert httpx.get(f"{run.endpoint.base_url}/files/{file_id}").status_code == 404


def _after_waiting(run, calls):
    deadline = time.monotonic() + 60
    while not run.is_ready():
        assert time.monotonic() < deadline, run.rows()
        run.advance()
        time.sleep(0.05)
    return run.ask(calls)


@pytest.fixture
def two_runs(start):
    """Two runs with calls in common, which are in a batch of the first, and of no other."""
    first = start(seconds=1.0)
    second = Batched(first.engine, first.server, {}, None, name="second")
    calls = questions(6)
    assert first.ask(calls[:4]) is None
    first.advance()
    assert second.ask(calls) is None
    second.advance()
    assert sizes(first) == [4, 2]
    return first, second, calls


def sizes(run):
    return [n_requests for _, _, n_requests, _ in run.rows()]


def test_answers_in_a_batch_of_another_run_are_waited_for(two_runs):
    first, second, calls = two_runs
    assert None not in _after_waiting(first, calls[:4])
    assert None not in _after_waiting(second, calls)
    stats = first.server.stats()
    assert (stats["answered"], stats["repeated_questions"]) == (6, 0)
    assert first.leaves_nothing()


def test_a_paused_run_whose_batch_nobody_collects_is_not_waited_for(two_runs):
    first, second, _ = two_runs
    first.execute("UPDATE run SET state = 'paused' WHERE name = 'batched'")
    second.advance()
    assert sizes(first) == [4, 2, 4]


def test_calls_of_a_cancelled_run_are_asked_once_its_batch_has_ended(two_runs):
    first, second, _ = two_runs
    first.execute("UPDATE run SET state = 'cancelled' WHERE name = 'batched'")
    second.advance()
    assert sizes(first) == [4, 2]
    with transaction(first.engine) as connection:
        (batch,) = batches.under_way(connection, first.run_id)
        batches.end(connection, batch, "cancelled", attempts=0)
    second.advance()
    assert sizes(first) == [4, 2, 4]


def texts_one_by_one(run, calls):
    headers = {"Content-Type": "application/json"}
    with httpx.Client(base_url=run.endpoint.base_url, headers=headers) as http:
        replies = [http.post(call.path.lstrip("/"), content=call.content) for call in calls]
    return [reply.json()["choices"][0]["message"]["content"] for reply in replies]


def test_answers_are_the_same_in_batches_of_any_size_and_one_by_one(start):
    run = start(limits={"max_lines": 7, "max_bytes": 1000})
    answers = run.answers(questions(20))
    assert len(run.rows()) > 20 / 7
    assert [a.text for a in answers] == texts_one_by_one(run, questions(20))
    assert [a.identity for a in answers] == [
        call.identity(run.endpoint.base_url) for call in questions(20)
    ]


def test_a_context_that_no_question_fits_into_pauses_the_run_and_fails_no_neuron(start):
    run = start(rehearsal={"context_tokens": 1})
    calls = questions(5)
    assert run.ask(calls) is None
    with pytest.raises(ContextTooSmall, match="larger context"):
        _after_waiting(run, calls)
    assert not run.is_ready()
    waiting = "SELECT count(*) FROM batch_request WHERE failure_class IS NULL AND attempts = 0"
    assert run.scalar(waiting) == 5


def test_a_question_that_is_too_long_among_others_fails_alone(start):
    run = start(rehearsal={"context_tokens": 200})
    calls = [*questions(4), *questions(1, messages=[{"role": "user", "content": "long " * 300}])]
    assert run.ask(calls) is None
    *short, long = _after_waiting(run, calls)
    assert all(isinstance(answer, Answer) for answer in short)
    assert isinstance(long, RequestRejected)


class DiesBeforeCreating(BatchClient):
    def create(self, path, file_id, mark):
        raise Crash


class DiesAfterCreating(BatchClient):
    def create(self, path, file_id, mark):
        super().create(path, file_id, mark)
        raise Crash


class DiesBeforeUploading(BatchClient):
    def upload(self, name, path, bodies):
        raise Crash


class DiesAfterUploading(BatchClient):
    def upload(self, name, path, bodies):
        super().upload(name, path, bodies)
        raise Crash


@pytest.mark.parametrize(
    "client", [DiesBeforeUploading, DiesAfterUploading, DiesBeforeCreating, DiesAfterCreating]
)
def test_a_crash_while_a_batch_is_submitted_makes_no_second_one(start, client):
    run = start()
    calls = questions(8)
    run.ask(calls)
    for _ in range(2):
        with pytest.raises(Crash):
            run.advance(client)
            if client is DiesAfterCreating:  # found by its mark, and not created again
                raise Crash
    answers = _after_waiting(run, calls)
    assert all(isinstance(answer, Answer) for answer in answers)
    stats = run.server.stats()
    assert (stats["batches"], stats["repeated_questions"]) == (1, 0)
    assert len(run.rows()) == 1


class DiesWhileCollecting(BatchClient):
    def download(self, file_id):
        raise Crash


def test_a_crash_while_a_batch_is_collected_loses_and_doubles_nothing(start, monkeypatch):
    run = start()
    calls = questions(30)
    run.ask(calls)
    run.advance()
    time.sleep(0.5)
    with pytest.raises(Crash):
        run.advance(DiesWhileCollecting)
    monkeypatch.setattr("worker.stages.batches.results.LINES_AT_ONCE", 10)
    end = batches.end
    monkeypatch.setattr(batches, "end", _crash)
    with pytest.raises(Crash):  # all answers are stored, and the batch has not ended
        run.advance()
    assert run.scalar("SELECT sum(calls) FROM spend") == 30
    monkeypatch.setattr(batches, "end", end)
    assert len(_after_waiting(run, calls)) == 30
    assert run.scalar("SELECT sum(calls) FROM spend") == 30
    assert run.server.stats()["answered"] == 30
    run.advance()  # the shard was ready before the batch was done with
    assert run.leaves_nothing()


def _crash(*_, **__):
    raise Crash


def test_what_an_expired_batch_lacks_is_asked_in_another_and_nothing_twice(start):
    run = start(expiries=2)
    answers = run.answers(questions(16))
    assert all(isinstance(answer, Answer) for answer in answers)
    outcomes = [(outcome, n) for _, outcome, n, _ in run.rows()]
    assert outcomes == [("expired", 16), ("expired", 8), ("completed", 4)]
    stats = run.server.stats()
    assert (stats["answered"], stats["repeated_questions"]) == (16, 0)
    assert {answer.attempts for answer in answers} == {1}  # expiry counts against nobody


def test_lines_that_fail_for_now_are_asked_again_and_others_fail_alone(start):
    run = start(line_failures=0.3)
    calls = [*questions(40), *questions(1, n=2)]
    answers = run.answers(calls)
    assert isinstance(answers[-1], RequestRejected)
    assert "use 1" in str(answers[-1])
    assert all(isinstance(answer, Answer) for answer in answers[:-1])
    assert max(answer.attempts for answer in answers[:-1]) > 1
    assert run.server.stats()["repeated_questions"] == 0


def test_a_question_that_fails_in_batch_after_batch_is_given_up_with_its_reason(start):
    run = start(line_failures=1.0)
    (found,) = run.answers(questions(1))
    assert isinstance(found, Unavailable)
    assert found.attempts == 4
    assert "of the rehearsal" in str(found)
    assert run.scalar("SELECT count(*) FROM batch_wait") == 0


def test_the_limit_on_enqueued_tokens_makes_fewer_and_smaller_batches(start):
    run = start(seconds=0.3, max_enqueued_tokens=80, limits={"max_lines": 10})
    answers = run.answers(questions(40))
    assert all(isinstance(answer, Answer) for answer in answers)
    outcomes = [outcome for _, outcome, _, _ in run.rows()]
    assert 1 <= outcomes.count(batches.TOO_MANY_TOKENS) < 8
    assert run.server.stats()["repeated_questions"] == 0
    assert {answer.attempts for answer in answers} == {1}


def test_a_batch_holds_what_it_may_cost_and_the_budget_ends_the_run(start):
    run = start(budget=0.0005, limits={"max_lines": 5})
    run.ask(questions(100))
    with pytest.raises(BudgetReached, match=r"budget of 0\.00 USD"):
        for _ in range(100):
            run.advance()
            time.sleep(0.05)
    stats = run.server.stats()
    assert 0.0002 < stats["usd"] <= 0.0005
    assert run.scalar("SELECT count(*) FROM budget_hold") == 0


def test_a_token_limit_of_another_name_is_found_out(start):
    run = start(rehearsal={"capabilities": Capabilities(reasoning=True)})
    answers = run.answers(questions(3))
    assert all(isinstance(answer, Answer) for answer in answers)


def test_refusals_and_truncations_are_read_as_they_are_online(start):
    run = start(rehearsal={"faults": FaultRates(refusal=1)})
    assert {found.failure_class for found in run.answers(questions(2))} == {"refused"}
    cut = start_again(run, questions(2, max_tokens=3))
    assert {found.failure_class for found in cut} == {"refused"}


def start_again(run, calls):
    with transaction(run.engine) as connection:
        connection.execute(text("UPDATE shard SET state = 'ready'"))
    return run.answers(calls)


def test_an_answer_that_is_cut_off_is_asked_once_more_with_twice_the_limit(start):
    run = start()
    answers = run.answers(questions(3, max_tokens=12))
    assert all(isinstance(answer, Answer) for answer in answers)
    assert run.server.stats()["batches"] == 2
    assert run.scalar("SELECT sum(wasted_usd) FROM spend") > 0


def test_two_shards_that_ask_the_same_wait_for_one_answer(start):
    run = start()
    assert run.ask(questions(5), number=0) is None
    assert run.ask(questions(5), number=1) is None
    answers = _after_waiting(run, questions(5))
    assert run.is_ready(1)
    assert run.ask(questions(5), number=1) == answers
    assert run.server.stats()["answered"] == 5


def test_only_one_looks_after_the_batches_at_a_time(start, engine):
    run = start()
    run.ask(questions(2))
    with RunLock(engine, "batches") as other:
        assert other.try_acquire(run.run_id)
        run.advance()
        assert run.rows() == []
    run.advance()
    assert len(run.rows()) == 1


def test_questions_are_withdrawn_when_the_endpoint_is_asked_online_again(start):
    run = start(seconds=60)
    run.ask(questions(3))
    with transaction(run.engine) as connection:
        batch_requests.withdraw(connection, run.run_id, ["here"])
    assert not run.is_ready()
    with transaction(run.engine) as connection:
        batch_requests.withdraw(connection, run.run_id, [])
    assert run.is_ready()
    assert run.leaves_nothing()
