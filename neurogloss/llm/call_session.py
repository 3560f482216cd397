"""Asking the questions of one shard: each to its answer, or to the reason why there is none."""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from neurogloss.errors import Interrupted, Refused, RowError, RunError, Truncated
from neurogloss.llm.answer_writer import AnswerWriter
from neurogloss.llm.budget import Budget
from neurogloss.llm.calls import Answer, Call, Ledger
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.model_client import ModelClient
from neurogloss.llm.sender import Outcome, PendingCall, Sender, this_task

STOP_GRACE_S = 12.0  # a worker that is told to stop is killed after 20
LOOK_EVERY_S = 0.2
RUNNING_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """What may change of a run while it asks: its endpoint's limits and prices, its budget."""

    endpoint: Endpoint
    budget_usd: float | None


@dataclass(eq=False)
class RunContext:
    """On whose behalf is asked: a run, in one process. The functions are called from threads.

    Attributes:
        pause: Pauses the run for everyone.
        is_running: Whether it still runs.
        terms: The terms of an endpoint by now; None where nobody can say.
        halted: The error that paused the run here; nothing is sent any more.
        asking: What is asked at the moment.
    """

    ledger: Ledger
    budget: Budget
    pause: Callable[[RunError], None]
    is_running: Callable[[], bool]
    terms: Callable[[Endpoint], LiveLimits | None] = lambda _: None
    halted: RunError | None = None
    asking: set["CallSession"] = field(default_factory=set)


class CallSession:
    """The questions of one shard. Belongs to an event loop.

    Args:
        reach: Returns the channel to the model within an endpoint's limits.
        asked: Who is asking what at the moment in this process, shared by all.
        longest_wait_s: Between two attempts.
        should_stop: Once it returns true, nothing more is sent.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        reach: Callable[[Endpoint], ModelClient],
        account: RunContext,
        writer: AnswerWriter,
        asked: dict[bytes, Outcome],
        longest_wait_s: float,
        should_stop: Callable[[], bool],
    ) -> None:
        self._endpoint, self._account = endpoint, account
        self._should_stop = should_stop
        self._reach, self._asked = reach, asked
        self._terms: LiveLimits | None = None
        channel = reach(endpoint)
        self._sender = Sender(
            endpoint, channel, account.ledger, account.budget, writer, longest_wait_s, self._goes_on
        )
        self._tasks: set[asyncio.Task[Answer | RowError]] = set()
        self._ended: Exception | None = None

    async def run(self, calls: Mapping[bytes, Call]) -> dict[bytes, Answer | RowError]:
        """Return the outcome of each call, by its identity.

        Raises:
            RunError: The run is paused. What was in flight has been stored.
            Interrupted: The shard is to be given up, or the run was paused by someone else.
        """
        if self._account.halted is not None:
            raise Interrupted("the run is paused")
        self._account.asking.add(self)
        watch = asyncio.create_task(self._watch())
        questions = {identity: PendingCall(call, identity) for identity, call in calls.items()}
        ours = [q for q in questions.values() if q.identity not in self._asked]
        for question in ours:
            self._announce(question)
        try:
            # After it is known that nobody here asks them: else an answer could slip between.
            known = await asyncio.to_thread(self._account.ledger.find, [q.identity for q in ours])
            return await self._outcomes(questions, known)
        finally:
            watch.cancel()
            self._account.asking.discard(self)
            for question in ours:
                self._hand_on(question)

    async def _outcomes(
        self, questions: Mapping[bytes, PendingCall], known: Mapping[bytes, Answer]
    ) -> dict[bytes, Answer | RowError]:
        tasks = {
            identity: asyncio.create_task(
                self._ask_for_all(question, known.get(identity))
                if question.outcome is not None
                else self._listen(question)
            )
            for identity, question in questions.items()
        }
        self._tasks.update(tasks.values())
        if self._ended is not None:
            self._cancel_waiting()
        await asyncio.wait(self._tasks)
        failed = [error for task in self._tasks if (error := _error_of(task))]
        if self._ended is not None or failed:
            raise self._ended or failed[0]
        return {identity: task.result() for identity, task in tasks.items()}

    def end(self, error: Exception, grace_s: float) -> None:
        """Send nothing any more; what is in flight may still be answered, for so many seconds."""
        self._ended = self._ended or error
        self._cancel_waiting()
        asyncio.get_running_loop().call_later(grace_s, self._cancel_all)

    def _cancel_waiting(self) -> None:
        for task in self._tasks - self._sender.in_flight:
            task.cancel()

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _goes_on(self) -> bool:
        """Return whether another question may be sent."""
        if self._ended is None and self._should_stop():
            self.end(Interrupted("the worker is told to stop, or lost its lease"), STOP_GRACE_S)
        return self._ended is None

    async def _watch(self) -> None:
        look_at = time.monotonic() + RUNNING_EVERY_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._goes_on() and time.monotonic() >= look_at:
                look_at = time.monotonic() + RUNNING_EVERY_S
                if not await asyncio.to_thread(self._account.is_running):
                    self.end(Interrupted("the run is paused"), self._endpoint.timeout_s)
                else:
                    await self._look_at_terms()

    async def _look_at_terms(self) -> None:
        """Take over limits, prices and a budget that were changed meanwhile."""
        terms = await asyncio.to_thread(self._account.terms, self._endpoint)
        if terms is None or terms == self._terms:
            return
        if terms.endpoint != self._endpoint:
            self._endpoint = terms.endpoint
            self._sender.move(terms.endpoint, self._reach(terms.endpoint))
        self._account.budget.renew()
        self._terms = terms

    async def _halt(self, error: RunError) -> None:
        """Pause the run, once, for everyone who asks on its behalf."""
        account = self._account
        if account.halted is not None:
            return
        account.halted = error
        for asking in account.asking:
            asking.end(error, self._endpoint.timeout_s)
        await asyncio.to_thread(account.pause, error)

    # Questions that others ask too

    def _announce(self, question: PendingCall) -> None:
        self._asked[question.identity] = question.outcome = asyncio.Future()

    def _hand_on(self, question: PendingCall) -> None:
        """Let a question go; without an outcome, another who listens asks it."""
        outcome = question.outcome
        if outcome is not None and self._asked.get(question.identity) is outcome:
            del self._asked[question.identity]
            outcome.cancel()

    async def _ask_for_all(self, question: PendingCall, known: Answer | None) -> Answer | RowError:
        """Ask, and hand the outcome to whoever listens in this process."""
        try:
            found = await self._outcome(question, known)
            if question.outcome is not None:
                question.outcome.set_result(found)
            return found
        except RunError as error:
            self._sender.in_flight.add(this_task())  # pausing the run is not cancelled
            await self._halt(error)
            raise
        except Exception as error:
            self.end(error, self._endpoint.timeout_s)
            raise
        finally:
            self._hand_on(question)

    async def _listen(self, question: PendingCall) -> Answer | RowError:
        """Wait for what another shard asks, and ask if it does not find out."""
        while (outcome := self._asked.get(question.identity)) is not None:
            try:
                return await asyncio.shield(outcome)
            except asyncio.CancelledError:
                if this_task().cancelling():
                    raise
        self._announce(question)
        return await self._ask_for_all(question, await self._find(question.identity))

    async def _find(self, identity: bytes) -> Answer | None:
        return (await asyncio.to_thread(self._account.ledger.find, [identity])).get(identity)

    # From a question to its outcome

    async def _outcome(self, question: PendingCall, known: Answer | None) -> Answer | RowError:
        try:
            outcome = usable(known or await self._sender.ask(question))
            if isinstance(outcome, Truncated):
                larger = with_double_limit(question.call)
                identity = larger.identity(self._endpoint.base_url)
                found = await self._find(identity)
                outcome = usable(found or await self._sender.ask(PendingCall(larger, identity)))
        except RowError as error:
            return error
        return outcome


def _error_of(task: asyncio.Task[Answer | RowError]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


def usable(answer: Answer) -> Answer | RowError:
    """Return the answer, or what is wrong with it as a whole."""
    if answer.refusal or answer.finish_reason == "content_filter":
        reason = answer.refusal or "stopped by a content filter"
        return Refused(reason[:300], answer.attempts, answer.request_id)
    if answer.finish_reason == "length":
        reason = f"cut off after {answer.completion_tokens} tokens"
        return Truncated(reason, answer.attempts, answer.request_id)
    return answer


def with_double_limit(call: Call) -> Call:
    """Return the question that is asked where the answer was cut off."""
    body = dict(call.body)
    name = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    body[name] = 2 * call.max_completion_tokens
    return dataclasses.replace(call, body=body)
