"""What a worker does with the answers of a server that it has to wait for, or that fails."""

import asyncio
import errno
import socket
import time

import httpx
import orjson
import pytest

from neurogloss.errors import (
    ContextExceeded,
    ContextTooSmall,
    EndpointAway,
    EndpointUnreachable,
    NoCredit,
    RateLimited,
    RowError,
    ServiceUnavailable,
    Unavailable,
)
from neurogloss.llm import outage
from neurogloss.llm.answer_writer import AnswerWriter
from neurogloss.llm.budget import Budget, BudgetHold
from neurogloss.llm.calls import Answer
from neurogloss.llm.context_length import TOO_LONG
from neurogloss.llm.endpoint import Endpoint, Price
from neurogloss.llm.limiter import Limiter
from neurogloss.llm.model_client import ModelClient
from neurogloss.llm.redis_limits import Grant
from neurogloss.llm.retrying_sender import ATTEMPTS, RetryingSender
from neurogloss.llm.run_context import RunContext
from neurogloss.llm.single_flight import PendingCall
from tests.support.calls import questions


class Blocks:
    """Limits of a process alone: nothing is limited but by what the server asked to wait."""

    def __init__(self):
        self.until = 0.0

    async def exchange(self, report, needs, waiting, in_flight):
        now = time.monotonic()
        self.until = max(self.until, now + report.blocked_s) if report.blocked_s else self.until
        if now < self.until:
            return Grant(0, self.until - now, 64)
        return Grant(len(needs), None, 64)


class OneByOne:
    """Grants one call after the other, and adds up what they give back of their tokens."""

    def __init__(self):
        self.refunded = 0

    async def exchange(self, report, needs, waiting, in_flight):
        self.refunded += report.refund
        return Grant(int(in_flight == 0), 0.01, 1)


class NoLimit:
    """A budget without end."""

    def hold(self, out, wanted):
        return BudgetHold(float("inf"), 0.0, 0.0, float("inf"))


class Kept:
    """A ledger of one test."""

    def __init__(self):
        self.answers, self.unanswered, self.retried = [], [], set()

    def failed(self, call, identity, endpoint, error):
        self.unanswered.append((call.purpose, call.model, endpoint, type(error)))
        self.retried.add(identity)

    def ended(self, identity):
        self.retried.discard(identity)

    def store(self):
        pass

    def find(self, identities):
        return {}

    def save(self, answers):
        self.answers += answers


class Server:
    """Answers by a function of the number of the request; counts them."""

    def __init__(self, answer):
        self.answer, self.n = answer, 0

    def __call__(self, request):
        self.n += 1
        return self.answer(self.n, orjson.loads(request.content))


def whole(text="words", prompt_tokens=9, **choice):
    message = {"content": text}
    body = {"choices": [{"message": message, "finish_reason": "stop", **choice}]}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 3}
    return httpx.Response(200, json={**body, "usage": usage})


def ask(answer, calls, wait_s=5.0, limits=None):
    """Return (outcomes or errors, the server, the ledger)."""
    server, ledger = Server(answer), Kept()
    prices = {"rehearsal": Price(input=1.0, output=1.0)}
    endpoint = Endpoint(name="e", base_url="http://e/v1", wait_s=wait_s, prices=prices)

    async def run():
        limiter = Limiter(limits or Blocks())
        client = ModelClient(httpx.MockTransport(server), endpoint, limiter)
        context = RunContext(ledger, Budget(NoLimit()), None, ledger)
        sender = RetryingSender(client, context, AnswerWriter(), 0.02, lambda: True)
        pending = [PendingCall(call, call.identity("http://e/v1")) for call in calls]
        sent = [sender.send(call) for call in pending]
        found = await asyncio.gather(*sent, return_exceptions=True)
        await limiter.close()
        return found

    return asyncio.run(run()), server, ledger


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(outage, "_SHORTEST_WAIT_S", 0.1)


def test_a_restart_is_waited_for_and_costs_no_attempt():
    began = time.monotonic()

    def restarting(n, body):
        if time.monotonic() < began + 1.0:
            return httpx.Response(503, headers={"Retry-After": "1"}, json={"error": "restarting"})
        return whole()

    found, server, _ = ask(restarting, questions(8))
    assert all(isinstance(answer, Answer) and answer.attempts == 1 for answer in found), found
    assert server.n <= 2 * 8


def test_a_server_that_loads_is_waited_for_without_being_told_how_long():
    began = time.monotonic()
    loading = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}

    def answer(n, body):
        is_loading = time.monotonic() < began + 0.8
        return httpx.Response(503, json=loading) if is_loading else whole()

    found, server, _ = ask(answer, questions(4))
    assert all(isinstance(answer, Answer) for answer in found), found
    assert server.n < 60


def test_a_server_that_stays_away_is_unreachable_after_the_time_that_is_set():
    found, _, _ = ask(lambda n, body: httpx.Response(503, json={}), questions(4), wait_s=0.5)
    assert all(isinstance(error, EndpointUnreachable) for error in found), found
    assert "wait_s" in str(found[0])


def test_others_are_told_why_and_until_when_an_endpoint_is_waited_for(caplog):
    told = []
    away = outage.Outage("e", 5.0, told.append)
    caplog.set_level("INFO", logger="neurogloss.llm.outage")
    for _ in range(4):
        away.wait_for(EndpointAway("Loading model"))
    away.end()
    assert told == ["Loading model", "Loading model", None]
    logged = [r.message for r in caplog.records]
    assert logged == ["endpoint away", "endpoint back"]


def test_a_name_that_nobody_knows_and_a_refused_connection_are_no_faults_of_a_call():
    for cause, is_unknown in ((socket.gaierror(-2, "unknown"), True), (refused(), False)):
        try:
            raise ServiceUnavailable("no answer") from cause
        except ServiceUnavailable as error:
            assert outage.is_away(error)
            assert outage.is_unknown_host(error) == is_unknown
    grouped = ExceptionGroup("all attempts failed", [refused()])
    assert outage.is_away(grouped)
    assert not outage.is_away(ServiceUnavailable("timed out"))


def refused():
    return ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def test_a_call_that_alone_is_answered_503_fails_alone(caplog):
    def answer(n, body):
        is_poison = "question 0" in body["messages"][0]["content"]
        return httpx.Response(503, json={"error": "no"}) if is_poison else whole()

    found, _, _ = ask(answer, [*questions(1), *questions(40)[1:]], wait_s=1.0)
    assert isinstance(found[0], Unavailable | EndpointUnreachable)
    assert all(isinstance(answer, Answer) for answer in found[1:])


def test_timeouts_are_logged_while_they_happen(caplog):
    def answer(n, body):
        raise httpx.ReadTimeout("Timeout on reading data from socket")

    found, server, _ = ask(answer, questions(1))
    assert isinstance(found[0], Unavailable)
    assert server.n == ATTEMPTS
    assert "Timeout on reading" in found[0].reason
    logged = [r for r in caplog.records if r.message == "calls without an answer"]
    assert len(logged) == 1
    assert "Timeout" in logged[0].reason


def test_what_only_python_reads_is_asked_for_once():
    content = whole().content[:-1] + b', "score": NaN}'
    found, server, ledger = ask(lambda n, body: httpx.Response(200, content=content), questions(1))
    assert (found[0].text, server.n, len(ledger.answers)) == ("words", 1, 1)


def test_half_an_answer_is_stored_once_and_counts_as_wasted():
    found, server, ledger = ask(
        lambda n, body: whole("half of", finish_reason="abort"), questions(1)
    )
    assert isinstance(found[0].outcome(), RowError)
    assert server.n == 1
    assert ledger.answers[0].wasted_usd > 0 == ledger.answers[0].usd


def test_credit_that_ends_inside_a_success_ends_the_run_at_once():
    error = {"error": {"message": "Insufficient credits", "code": 402}}
    found, server, _ = ask(lambda n, body: httpx.Response(200, json=error), questions(1))
    assert isinstance(found[0], NoCredit)
    assert server.n == 1


TOO_LONG_ANSWER = {
    "error": {
        "code": 400,
        "message": "request (4390 tokens) exceeds the available context size (4096 tokens)",
        "type": "exceed_context_size_error",
    }
}


def test_a_context_that_no_question_fits_into_ends_the_run():
    found, _, _ = ask(lambda n, body: httpx.Response(400, json=TOO_LONG_ANSWER), questions(12))
    assert sum(isinstance(error, ContextTooSmall) for error in found) == 12 - TOO_LONG + 1
    assert "larger context" in str(found[-1])


def test_one_question_that_is_too_long_fails_alone():
    def answer(n, body):
        is_long = "question 3\n" in body["messages"][0]["content"]
        return httpx.Response(400, json=TOO_LONG_ANSWER) if is_long else whole()

    found, _, _ = ask(answer, questions(12))
    assert isinstance(found[3], ContextExceeded)
    assert sum(isinstance(answer, Answer) for answer in found) == 11


def test_requests_without_an_answer_are_counted_by_what_they_came_to():
    def answer(n, body):
        if n == 1:
            return httpx.Response(429, headers={"Retry-After": "0.01"}, json={"error": "slowly"})
        if n == 2:
            return httpx.Response(500, json={"error": "oops"})
        return whole()

    (found,), server, ledger = ask(answer, questions(1))
    assert isinstance(found, Answer)
    assert server.n == 3
    key = ("explain", "rehearsal", "e")
    assert ledger.unanswered == [(*key, RateLimited), (*key, ServiceUnavailable)]
    assert not ledger.retried


def test_a_question_that_the_server_refuses_is_counted_once():
    refusal = {"error": {"message": "no such role", "type": "invalid_request_error"}}
    (found,), _, ledger = ask(lambda n, body: httpx.Response(400, json=refusal), questions(1))
    assert isinstance(found, RowError)
    assert [kind for *_, kind in ledger.unanswered] == [type(found)]


def test_calls_do_not_wait_for_tokens_that_a_server_only_says_it_used():
    limits = OneByOne()
    found, _, _ = ask(lambda n, body: whole(prompt_tokens=10**30), questions(3), limits=limits)
    assert all(isinstance(answer, Answer) for answer in found), found
    assert -1_000_000 < limits.refunded < 0
