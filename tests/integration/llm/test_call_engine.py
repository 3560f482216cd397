import threading
import time

import pytest

from neurogloss.errors import (
    BadCredentials,
    BudgetReached,
    EndpointUnreachable,
    Interrupted,
    NoCredit,
    RowError,
    Truncated,
)
from neurogloss.llm.budget import Budget, BudgetHold
from neurogloss.llm.call_engine import CallEngine
from neurogloss.llm.endpoint import Endpoint, Price
from neurogloss.llm.outage_notes import NoteReader
from neurogloss.llm.run_context import RunContext
from rehearsal.faults import FaultRates
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.calls import questions
from worker.shard import Lease

KEY = "sk-test-0123456789"


class MemoryLedger:
    """Keeps answers for one test."""

    def __init__(self):
        self.answers = {}

    def find(self, identities):
        return {i: self.answers[i] for i in identities if i in self.answers}

    def save(self, answers):
        self.answers |= {answer.identity: answer for answer in answers}


class Purse:
    """A budget for one process."""

    def __init__(self, ledger, limit):
        self.ledger, self.limit = ledger, limit

    def hold(self, out, wanted):
        spent = sum(a.usd + a.wasted_usd for a in self.ledger.answers.values())
        left = self.limit - spent - out - wanted
        return BudgetHold(out + wanted + 0.05 * left if left >= 0 else out, 0.0, spent, self.limit)


class Run:
    """A run in one process: its context, its state, and why it was paused."""

    def __init__(self, ledger=None, budget=float("inf")):
        self.ledger = ledger or MemoryLedger()
        self.running, self.paused = True, []
        self.context = RunContext(self.ledger, Budget(Purse(self.ledger, budget)), self)

    def pause(self, error):
        self.paused.append(error)

    def is_running(self):
        return self.running

    def live_limits(self, endpoint):
        return None


def endpoint_at(server, key=KEY, name="e", **limits):
    return Endpoint(
        name=name,
        base_url=server if isinstance(server, str) else server.base_url,
        api_key=key,
        prices={"rehearsal": Price(input=0.15, output=0.6)},
        **{"max_in_flight": 16, **limits},
    )


@pytest.fixture
def call_engine(services):
    engine = CallEngine(services.redis_url, longest_wait_s=0.05)
    yield engine
    engine.close()


@pytest.fixture
def ask(call_engine):
    """Return a function that runs calls against a rehearsal server."""

    def ask(server, questions, ledger=None, key=KEY, run=None, should_stop=lambda: False, **limits):
        run = run or Run(ledger)
        endpoint = endpoint_at(server, key, **limits)
        return call_engine.run(endpoint, questions, run.context, should_stop)

    return ask


def test_answers_come_in_the_order_of_the_calls(ask):
    with RehearsalServer(RehearsalOptions(latency_jitter_ms=20, api_key=KEY)) as server:
        first = ask(server, questions(20))
        again = ask(server, questions(20)[::-1])
    assert [a.text for a in first] == [a.text for a in again][::-1]
    assert all(a.usd > 0 for a in first)


def test_a_stored_answer_is_not_asked_for_again(ask):
    ledger = MemoryLedger()
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        ask(server, questions(10), ledger)
        ask(server, questions(12), ledger)
        assert server.stats()["requests"] == 12


def test_the_same_question_is_asked_once(ask):
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        answers = ask(server, questions(1) * 5)
        assert server.stats()["requests"] == 1
    assert len({a.text for a in answers}) == 1


def test_the_same_question_is_asked_once_for_two_shards_at_the_same_time(ask):
    found = {}
    with RehearsalServer(RehearsalOptions(latency_ms=100, api_key=KEY)) as server:
        run = Run()
        shards = [
            threading.Thread(
                target=lambda n=n: found.update({n: ask(server, questions(40), run=run)})
            )
            for n in range(2)
        ]
        for shard in shards:
            shard.start()
        for shard in shards:
            shard.join()
        assert server.stats()["requests"] == 40
    assert [a.text for a in found[0]] == [a.text for a in found[1]]


def test_a_question_that_another_shard_gives_up_is_asked_by_who_listens(ask):
    stop, ledger, found = threading.Event(), MemoryLedger(), []
    with RehearsalServer(RehearsalOptions(latency_ms=100, api_key=KEY)) as server:

        def give_up():
            with pytest.raises(Interrupted):
                ask(server, questions(60), ledger, should_stop=stop.is_set)

        shards = [
            threading.Thread(target=give_up),
            threading.Thread(target=lambda: found.extend(ask(server, questions(60), ledger))),
        ]
        shards[0].start()
        time.sleep(0.15)
        shards[1].start()
        stop.set()
        for shard in shards:
            shard.join()
        assert server.stats()["repeated_questions"] == 0
    assert len(found) == 60
    assert not [a for a in found if isinstance(a, RowError)]


def test_a_run_that_someone_pauses_sends_no_more_and_keeps_what_was_in_flight(ask):
    run = Run()
    with RehearsalServer(RehearsalOptions(latency_ms=200, api_key=KEY)) as server:
        threading.Timer(0.3, lambda: setattr(run, "running", False)).start()
        with pytest.raises(Interrupted, match="paused"):
            ask(server, questions(2000), run=run)
        assert server.stats()["answered"] == len(run.ledger.answers) < 2000


def test_what_was_cut_off_counts_as_wasted(ask):
    ledger = MemoryLedger()
    options = RehearsalOptions(api_key=KEY, faults=FaultRates(truncated=0.3))
    with RehearsalServer(options) as server:
        answers = ask(server, questions(30), ledger)
        paid = server.stats()["usd"]
    assert any(not isinstance(a, RowError) for a in answers)
    wasted = sum(a.wasted_usd for a in ledger.answers.values())
    assert 0 < wasted < paid
    cut_off = [a for a in ledger.answers.values() if a.finish_reason == "length"]
    assert wasted == pytest.approx(sum(a.wasted_usd for a in cut_off))
    assert all(a.usd == 0 for a in cut_off)


def test_faults_are_outlived_and_nothing_is_paid_twice(ask):
    faults = FaultRates(rate_limit_bare=0.05, server_error=0.1, drop=0.05)
    with RehearsalServer(RehearsalOptions(api_key=KEY, faults=faults)) as server:
        answers = ask(server, questions(60))
        stats = server.stats()
    assert not [a for a in answers if isinstance(a, RowError)]
    assert stats["repeated_questions"] == 0
    assert stats["requests"] > 60


def test_a_refusal_fails_its_row_alone(ask):
    options = RehearsalOptions(api_key=KEY, faults=FaultRates(refusal=0.3))
    with RehearsalServer(options) as server:
        answers = ask(server, questions(30))
    kinds = {getattr(a, "failure_class", "answer") for a in answers}
    assert kinds == {"answer", "refused"}


def test_a_truncated_answer_is_asked_once_more_with_more_room(ask):
    ledger = MemoryLedger()
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        (answer,) = ask(server, questions(1, max_tokens=3), ledger)
        (again,) = ask(server, questions(1, max_tokens=3), ledger)
        assert server.stats()["requests"] == 2
    assert isinstance(answer, Truncated)
    assert isinstance(again, Truncated)
    assert len(ledger.answers) == 2


def test_a_wrong_key_stops_everything_and_is_not_shown(ask):
    with RehearsalServer(RehearsalOptions(api_key="another")) as server:
        with pytest.raises(BadCredentials) as caught:
            ask(server, questions(200))
        assert server.stats()["requests"] <= 16 + 1
    assert KEY not in str(caught.value)


def test_credit_that_ends_stops_everything_and_keeps_what_was_paid(ask):
    ledger = MemoryLedger()
    with RehearsalServer(RehearsalOptions(api_key=KEY, credit_usd=0.0005)) as server:
        with pytest.raises(NoCredit):
            ask(server, questions(300), ledger)
        stats = server.stats()
    assert stats["answered"] == len(ledger.answers) > 0
    assert stats["refused"]["credit"] <= 16


def test_an_endpoint_that_is_not_there_stops_the_run(ask):
    with pytest.raises(EndpointUnreachable):
        ask("http://127.0.0.1:9/v1", questions(30), wait_s=1.0)


def test_whoever_follows_the_run_can_read_why_an_endpoint_is_waited_for(ask, services):
    url = "http://127.0.0.1:9/v1"
    reader, seen = NoteReader(services.redis_url, {"e": url}), []

    def ask_in_vain():
        with pytest.raises(EndpointUnreachable):
            ask(url, questions(4), wait_s=3.0)

    asking = threading.Thread(target=ask_in_vain)
    asking.start()
    while asking.is_alive():
        seen.append(reader.read())
        time.sleep(0.1)
    assert any("127.0.0.1" in notes.get("e", "") for notes in seen)
    time.sleep(0.3)
    assert reader.read() == {}
    reader.close()


def test_a_budget_is_used_and_not_exceeded(ask):
    run = Run(budget=0.01)
    with RehearsalServer(RehearsalOptions(latency_ms=10, api_key=KEY)) as server:
        with pytest.raises(BudgetReached, match=r"budget of 0\.01 USD"):
            ask(server, questions(2000), run=run)
        spent = server.stats()["usd"]
    assert 0.0098 < spent <= 0.01
    assert isinstance(run.paused[0], BudgetReached)


def test_an_answer_that_cannot_be_stored_is_not_handed_out(ask):
    class Broken(MemoryLedger):
        def save(self, answers):
            raise OSError("disk full")

    with (
        RehearsalServer(RehearsalOptions(api_key=KEY)) as server,
        pytest.raises(OSError, match="disk full"),
    ):
        ask(server, questions(3), Broken())


def test_a_stopped_worker_sends_no_more_and_stores_what_was_under_way(ask):
    stop, ledger = threading.Event(), MemoryLedger()
    with RehearsalServer(RehearsalOptions(latency_ms=200, api_key=KEY)) as server:

        def stop_after_the_first():
            while not ledger.answers:
                time.sleep(0.01)
            stop.set()

        threading.Thread(target=stop_after_the_first, daemon=True).start()
        with pytest.raises(Interrupted):
            ask(server, questions(2000), ledger, should_stop=stop.is_set)
        stats = server.stats()
    assert 0 < len(ledger.answers) < 2000
    assert stats["answered"] == len(ledger.answers)


def test_who_lost_the_lease_while_waiting_for_a_turn_sends_nothing_more(ask):
    ledger = MemoryLedger()
    lease = Lease(threading.Event(), time.monotonic() + 1.0)
    with RehearsalServer(RehearsalOptions(latency_ms=400, api_key=KEY)) as server:
        with pytest.raises(Interrupted, match="lease"):
            ask(server, questions(500), ledger, should_stop=lease.has_ended)
        stats = server.stats()
    assert stats["answered"] == stats["requests"] == len(ledger.answers)
    assert stats["requests"] <= 4 * 16  # of those in flight at once, no more than fit in a second


def test_the_limit_is_used_and_not_exceeded(ask):
    limits = {"requests_per_minute": 3000}
    with RehearsalServer(RehearsalOptions(api_key=KEY)) as server:
        started = time.monotonic()
        ask(server, questions(200), **limits)
        seconds = time.monotonic() - started
    assert seconds > (200 - 50) / 50 * 0.9  # at most a burst of one second, then 50 a second


class UnreadableRun(Run):
    """A run whose state cannot be read for a while, and that is paused then."""

    def __init__(self, failures):
        super().__init__()
        self.looks, self.failures = 0, failures

    def is_running(self):
        self.looks += 1
        if self.looks <= self.failures:
            raise ValueError("a defect")
        return False


@pytest.mark.parametrize(("failures", "blind_s"), [(2, 30.0), (10**6, 0.5)])
def test_calls_end_though_the_state_of_the_run_cannot_be_read(ask, monkeypatch, failures, blind_s):
    monkeypatch.setattr("neurogloss.llm.call_session.STATE_EVERY_S", 0.1)
    monkeypatch.setattr("neurogloss.llm.call_session.BLIND_S", blind_s)
    run = UnreadableRun(failures)
    with RehearsalServer(RehearsalOptions(latency_ms=300, api_key=KEY)) as server:
        with pytest.raises(Interrupted, match="paused" if failures == 2 else "could not be read"):
            ask(server, questions(400), run=run, max_in_flight=4)
        assert server.stats()["requests"] < 100
    assert run.looks > 2


@pytest.mark.parametrize(("process_stops", "stored"), [(False, 4), (True, 0)])
def test_a_lease_that_ends_cuts_no_paid_answer_off_and_a_stop_does_after_its_grace(
    ask, call_engine, monkeypatch, process_stops, stored
):
    monkeypatch.setattr("neurogloss.llm.call_session.STOP_GRACE_S", 0.2)
    run = Run()
    with RehearsalServer(RehearsalOptions(latency_ms=1500, api_key=KEY)) as server:
        has_ended = time.monotonic() + 0.6
        with pytest.raises(Interrupted):
            call_engine.run(
                endpoint_at(server, max_in_flight=4),
                questions(20),
                run.context,
                lambda: time.monotonic() > has_ended,
                lambda: process_stops,
            )
        assert server.stats()["requests"] == 4
    assert len(run.context.ledger.answers) == stored


def test_a_process_that_stops_after_its_lease_ended_waits_no_longer_than_it_lives(
    call_engine, monkeypatch
):
    monkeypatch.setattr("neurogloss.llm.call_session.STOP_GRACE_S", 0.2)
    began = time.monotonic()
    with (
        RehearsalServer(RehearsalOptions(latency_ms=8000, api_key=KEY)) as server,
        pytest.raises(Interrupted),
    ):
        call_engine.run(
            endpoint_at(server),
            questions(2),
            Run().context,
            lambda: time.monotonic() > began + 0.3,
            lambda: time.monotonic() > began + 1,
        )
    assert time.monotonic() - began < 6
