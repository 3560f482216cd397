"""Asking the questions of one shard: each to its answer, or to the reason why there is none."""

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from worker.api.budget import Budget
from worker.api.calls import Answer, Call, Ledger
from worker.api.channel import Channel
from worker.api.endpoint import Endpoint
from worker.api.responses import Reading, read_completion
from worker.api.writer import Writer
from worker.errors import (
    Interrupted,
    RateLimited,
    Refused,
    RowError,
    RunError,
    ServiceUnavailable,
    Truncated,
    Unavailable,
)

log = logging.getLogger(__name__)

ATTEMPTS = 6
PATIENCE_S = 600.0
RATE_LIMIT_PATIENCE_S = 900.0
STOP_GRACE_S = 12.0  # a worker that is told to stop is killed after 20
LOOK_EVERY_S = 0.2
RUNNING_EVERY_S = 1.0


Outcome = asyncio.Future[Answer | RowError]


@dataclass(eq=False)
class Account:
    """On whose behalf is asked: a run, in one process. The functions are called from threads.

    Attributes:
        pause: Pauses the run for everyone.
        is_running: Whether it still runs.
        halted: The error that paused the run here; nothing is sent any more.
        asking: What is asked at the moment.
    """

    ledger: Ledger
    budget: Budget
    pause: Callable[[RunError], None]
    is_running: Callable[[], bool]
    halted: RunError | None = None
    asking: set["Asking"] = field(default_factory=set)


@dataclass(slots=True)
class _Question:
    call: Call
    identity: bytes
    outcome: Outcome | None = None  # for those in this process who ask the same
    attempts: int = 0
    wasted_usd: float = 0.0


class Asking:
    """The questions of one shard. Belongs to an event loop.

    Args:
        asked: Who is asking what at the moment in this process, shared by all.
        longest_wait_s: Between two attempts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        channel: Channel,
        account: Account,
        writer: Writer,
        asked: dict[bytes, Outcome],
        longest_wait_s: float,
    ) -> None:
        self._endpoint, self._channel, self._account = endpoint, channel, account
        self._writer, self._asked, self._longest_wait_s = writer, asked, longest_wait_s
        self._tasks: set[asyncio.Task[Answer | RowError]] = set()
        self._in_flight: set[asyncio.Task[object]] = set()
        self._ended: Exception | None = None

    async def run(
        self, calls: Mapping[bytes, Call], stop: threading.Event
    ) -> dict[bytes, Answer | RowError]:
        """Return the outcome of each call, by its identity.

        Raises:
            RunError: The run is paused. What was in flight has been stored.
            Interrupted: The worker is to stop, or the run was paused by someone else.
        """
        if self._account.halted is not None:
            raise Interrupted("the run is paused")
        self._account.asking.add(self)
        watch = asyncio.create_task(self._watch(stop))
        questions = {identity: _Question(call, identity) for identity, call in calls.items()}
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
        self, questions: Mapping[bytes, _Question], known: Mapping[bytes, Answer]
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
        for task in self._tasks - self._in_flight:
            task.cancel()

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _watch(self, stop: threading.Event) -> None:
        look_at = time.monotonic() + RUNNING_EVERY_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if stop.is_set():
                self.end(Interrupted("the worker is told to stop"), STOP_GRACE_S)
                return
            if time.monotonic() >= look_at and self._ended is None:
                look_at = time.monotonic() + RUNNING_EVERY_S
                if not await asyncio.to_thread(self._account.is_running):
                    self.end(Interrupted("the run is paused"), self._endpoint.timeout_s)

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

    def _announce(self, question: _Question) -> None:
        self._asked[question.identity] = question.outcome = asyncio.Future()

    def _hand_on(self, question: _Question) -> None:
        """Let a question go; without an outcome, another who listens asks it."""
        outcome = question.outcome
        if outcome is not None and self._asked.get(question.identity) is outcome:
            del self._asked[question.identity]
            outcome.cancel()

    async def _ask_for_all(self, question: _Question, known: Answer | None) -> Answer | RowError:
        """Ask, and hand the outcome to whoever listens in this process."""
        try:
            found = await self._outcome(question, known)
            if question.outcome is not None:
                question.outcome.set_result(found)
            return found
        except RunError as error:
            self._in_flight.add(_this_task())  # pausing the run is not cancelled
            await self._halt(error)
            raise
        except Exception as error:
            self.end(error, self._endpoint.timeout_s)
            raise
        finally:
            self._hand_on(question)

    async def _listen(self, question: _Question) -> Answer | RowError:
        """Wait for what another shard asks, and ask if it does not find out."""
        while (outcome := self._asked.get(question.identity)) is not None:
            try:
                return await asyncio.shield(outcome)
            except asyncio.CancelledError:
                if _this_task().cancelling():
                    raise
        self._announce(question)
        return await self._ask_for_all(question, await self._find(question.identity))

    async def _find(self, identity: bytes) -> Answer | None:
        return (await asyncio.to_thread(self._account.ledger.find, [identity])).get(identity)

    # From a question to its outcome

    async def _outcome(self, question: _Question, known: Answer | None) -> Answer | RowError:
        try:
            outcome = usable(known or await self._ask(question))
            if isinstance(outcome, Truncated):
                larger = with_double_limit(question.call)
                identity = larger.identity(self._endpoint.base_url)
                found = await self._find(identity)
                outcome = usable(found or await self._ask(_Question(larger, identity)))
        except RowError as error:
            return error
        return outcome

    async def _ask(self, question: _Question) -> Answer:
        """Return a stored answer, after as many attempts as its failures allow.

        The first attempt is made without tenacity, whose bookkeeping costs more than our own.
        """
        try:
            return await self._when_allowed(question)
        except ServiceUnavailable as error:
            return await self._ask_again(question, error)

    async def _ask_again(self, question: _Question, first: ServiceUnavailable) -> Answer:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(ServiceUnavailable),
            wait=wait_random_exponential(multiplier=0.5, max=self._longest_wait_s),
            stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(PATIENCE_S),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    if attempt.retry_state.attempt_number == 1:
                        raise first
                    return await self._when_allowed(question)
        except ServiceUnavailable as last:
            raise self._channel.in_vain(str(last), question.attempts) from last
        raise AssertionError("tenacity returns or raises")

    async def _sleep(self, seconds: float) -> None:
        self._go_on()
        await asyncio.sleep(seconds)

    def _go_on(self) -> None:
        if self._ended is not None:
            raise asyncio.CancelledError

    async def _when_allowed(self, question: _Question) -> Answer:
        """Send until it is not refused for the rate, which spends no attempt."""
        deadline = time.monotonic() + RATE_LIMIT_PATIENCE_S
        again = question.attempts > 0
        while True:
            try:
                return await self._take_and_send(question, first=again)
            except RateLimited as error:
                self._channel.limiter.block(error.retry_after)
                if time.monotonic() > deadline:
                    raise Unavailable(str(error), question.attempts) from error
                question.attempts -= 1
                again = True

    async def _take_and_send(self, question: _Question, *, first: bool) -> Answer:
        """Send once, within the limits and the budget, and store the answer.

        The turn is kept until the answer is stored: never are more paid answers at risk than may be
        in flight, and a database that is away stops the sending.
        """
        self._go_on()
        call, limiter, budget = question.call, self._channel.limiter, self._account.budget
        prompt = self._channel.prompt_tokens(call)
        tokens = prompt + call.max_completion_tokens
        usd = self._endpoint.price(call.model).cost(prompt, 0, call.max_completion_tokens)
        await limiter.take(tokens, first=first)
        try:
            await budget.reserve(usd)
        except BaseException:
            limiter.leave(unused=tokens)
            raise
        paid = 0.0
        self._in_flight.add(_this_task())
        try:
            answer = await self._send(question, tokens)
            paid = answer.usd + answer.wasted_usd
            limiter.leave(answered=1)
            return answer
        except BaseException as error:
            limiter.leave(
                unused=tokens,
                refused=isinstance(error, RateLimited),
                failed=isinstance(error, ServiceUnavailable),
            )
            raise
        finally:
            self._in_flight.discard(_this_task())
            budget.settle(usd, paid)

    async def _send(self, question: _Question, tokens: int) -> Answer:
        question.attempts += 1
        started = time.monotonic()
        response = await self._channel.post(question.call)
        seconds = time.monotonic() - started
        try:
            reading = read_completion(response.content, question.call.body)
        except ServiceUnavailable:
            price, prompt = self._endpoint.price(question.call.model), question.call.prompt_tokens
            question.wasted_usd += price.cost(prompt, 0, 0)  # at least: nobody says what it was
            raise
        self._channel.learn(question.call, reading)
        request_id = response.headers.get("x-request-id")
        answer = self._answer(question, reading, seconds, request_id)
        if used := answer.prompt_tokens + answer.completion_tokens:
            self._channel.limiter.refund(tokens - used)
        await self._writer.store(self._account.ledger, answer)
        return answer

    def _answer(
        self, question: _Question, reading: Reading, seconds: float, request_id: str | None
    ) -> Answer:
        usage = (reading.prompt_tokens, reading.cached_tokens, reading.completion_tokens)
        usd = self._endpoint.price(question.call.model).cost(*usage)
        cut_off = reading.finish_reason == "length"
        return Answer(
            identity=question.identity,
            purpose=question.call.purpose,
            endpoint=self._endpoint.name,
            model=question.call.model,
            text=reading.text,
            finish_reason=reading.finish_reason,
            refusal=reading.refusal,
            distributions=reading.distributions,
            prompt_tokens=reading.prompt_tokens,
            cached_tokens=reading.cached_tokens,
            completion_tokens=reading.completion_tokens,
            usd=0.0 if cut_off else usd,
            wasted_usd=question.wasted_usd + (usd if cut_off else 0.0),
            attempts=question.attempts,
            latency_ms=round(1000 * seconds),
            request_id=request_id,
        )


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None  # all of this runs in tasks
    return task


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
