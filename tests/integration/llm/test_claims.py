"""One question, several processes: each engine here stands for one, and has a loop of its own."""

import asyncio
import threading
import time

import pytest
from redis.asyncio import Redis

from neurogloss.errors import Interrupted
from neurogloss.llm.budget import Budget, BudgetHold
from neurogloss.llm.call_engine import CallEngine
from neurogloss.llm.claims import ClaimChanges
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.redis_limits import RedisLimits, Report
from neurogloss.llm.run_context import RunContext
from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.calls import questions

QUESTIONS = 60


class Running:
    """A run that goes on, without a budget."""

    def hold(self, out, wanted):
        return BudgetHold(float("inf"), 0.0, 0.0, float("inf"))

    def is_running(self):
        return True

    def live_limits(self, endpoint):
        return None

    def pause(self, error):
        raise error


class SharedLedger:
    """Keeps the answers of all processes of one test, and counts them."""

    def __init__(self):
        self.answers, self.saved = {}, 0

    def find(self, identities):
        return {i: self.answers[i] for i in identities if i in self.answers}

    def save(self, answers):
        self.answers |= {answer.identity: answer for answer in answers}
        self.saved += len(answers)


class Process:
    """A process that makes calls for a run."""

    def __init__(self, redis_url, ledger):
        self.calls = CallEngine(redis_url, longest_wait_s=0.05)
        self.ledger = ledger
        self.stops = threading.Event()

    def ask(self, endpoint, calls):
        context = RunContext(self.ledger, Budget(Running()), Running())
        return self.calls.run(endpoint, calls, context, self.stops.is_set)

    def close(self):
        self.calls.close()


@pytest.fixture
def processes(services):
    ledger = SharedLedger()
    found = [Process(services.redis_url, ledger) for _ in range(2)]
    yield found
    for process in found:
        process.close()


@pytest.fixture
def server():
    with RehearsalServer(RehearsalOptions(latency_ms=300)) as server:
        yield server


def endpoint_at(server):
    return Endpoint(name="e", base_url=server.base_url, max_in_flight=64, timeout_s=10.0)


def test_a_question_that_two_processes_ask_at_once_is_paid_once(processes, server):
    found = {}

    def ask(n):
        found[n] = processes[n].ask(endpoint_at(server), questions(QUESTIONS))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.stats()["requests"] == QUESTIONS
    assert [a.text for a in found[0]] == [a.text for a in found[1]]
    assert processes[0].ledger.saved == QUESTIONS


def test_what_a_process_gives_up_is_asked_by_the_one_that_waits(processes, server):
    slow = Endpoint(name="e", base_url=server.base_url, max_in_flight=2, timeout_s=10.0)

    def give_up():
        with pytest.raises(Interrupted):
            processes[0].ask(slow, questions(40))

    first = threading.Thread(target=give_up)
    first.start()
    wait_until(lambda: server.stats()["requests"] > 0)
    threading.Timer(0.5, processes[0].stops.set).start()
    answers = processes[1].ask(slow, questions(6))
    first.join()
    assert len({answer.identity for answer in answers}) == 6
    assert server.stats()["repeated_questions"] == 0


def test_a_process_that_dies_has_its_questions_no_longer(services, processes, server):
    endpoint, calls = endpoint_at(server), questions(5)
    identities = [call.identity(endpoint.base_url) for call in calls]

    async def die():
        async with Redis.from_url(services.redis_client_url) as redis:
            dead = RedisLimits(redis, endpoint, "rehearsal", "dead", alive_s=1.0)
            wanted = Report(claims=ClaimChanges(identities, holds=True))
            assert (await dead.exchange(wanted, [], 0, 0)).elsewhere == set()
            other = RedisLimits(redis, endpoint, "rehearsal", "other")
            found = await other.exchange(Report(claims=ClaimChanges(identities)), [], 0, 0)
            assert found.elsewhere == set(identities)

    asyncio.run(die())
    began = time.monotonic()
    assert len(processes[0].ask(endpoint, calls)) == 5
    assert 0.5 < time.monotonic() - began < 5


def test_no_claim_is_left_behind(services, processes, server):
    processes[0].ask(endpoint_at(server), questions(5))
    processes[0].close()

    async def left():
        async with Redis.from_url(services.redis_client_url) as redis:
            key = f"claims:{{{endpoint_at(server).account}}}"
            return await redis.hlen(key)

    assert asyncio.run(left()) == 0


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
