"""Sending one question until it is answered, within the limits and the budget of everyone."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from neurogloss.errors import RateLimited, RowError, ServiceUnavailable, Unavailable
from neurogloss.llm.answer_writer import AnswerWriter
from neurogloss.llm.budget import Budget
from neurogloss.llm.calls import Answer, Call, Ledger
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.model_client import ModelClient
from neurogloss.llm.responses import read_completion

ATTEMPTS = 6
PATIENCE_S = 600.0
RATE_LIMIT_PATIENCE_S = 900.0

Outcome = asyncio.Future[Answer | RowError]


@dataclass(slots=True)
class PendingCall:
    """A call on its way to an answer. `outcome` is for those in this process who ask the same."""

    call: Call
    identity: bytes
    outcome: Outcome | None = None
    attempts: int = 0
    wasted_usd: float = 0.0


class Sender:
    """Sends the questions of one shard. Belongs to an event loop.

    Attributes:
        in_flight: The tasks whose question was sent, and whose answer is not stored yet.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        channel: ModelClient,
        ledger: Ledger,
        budget: Budget,
        writer: AnswerWriter,
        longest_wait_s: float,
        goes_on: Callable[[], bool],
    ) -> None:
        self._endpoint, self._channel = endpoint, channel
        self._goes_on = goes_on
        self._ledger, self._budget, self._writer = ledger, budget, writer
        self._longest_wait_s = longest_wait_s
        self.in_flight: set[asyncio.Task[object]] = set()

    def move(self, endpoint: Endpoint, channel: ModelClient) -> None:
        """Send what is not sent yet within other limits, at other prices."""
        self._endpoint, self._channel = endpoint, channel

    async def ask(self, question: PendingCall) -> Answer:
        """Return a stored answer, after as many attempts as its failures allow.

        The first attempt is made without tenacity, whose bookkeeping costs more than our own.
        """
        try:
            return await self._when_allowed(question)
        except ServiceUnavailable as error:
            return await self._ask_again(question, error)

    async def _ask_again(self, question: PendingCall, first: ServiceUnavailable) -> Answer:
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
        if not self._goes_on():
            raise asyncio.CancelledError

    async def _when_allowed(self, question: PendingCall) -> Answer:
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

    async def _take_and_send(self, question: PendingCall, *, first: bool) -> Answer:
        """Send once, within the limits and the budget, and store the answer.

        The turn is kept until the answer is stored: never are more paid answers at risk than may be
        in flight, and a database that is away stops the sending.
        """
        self._go_on()
        call, limiter, budget = question.call, self._channel.limiter, self._budget
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
        try:
            self._go_on()  # the lease may have run out while this waited for its turn
            self.in_flight.add(this_task())
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
            self.in_flight.discard(this_task())
            budget.settle(usd, paid)

    async def _send(self, question: PendingCall, tokens: int) -> Answer:
        question.attempts += 1
        started = time.monotonic()
        response, body = await self._channel.post(question.call)
        seconds = time.monotonic() - started
        try:
            reading = read_completion(response.content, body)
        except ServiceUnavailable:
            price, prompt = self._endpoint.price(question.call.model), question.call.prompt_tokens
            question.wasted_usd += price.cost(prompt, 0, 0)  # at least: nobody says what it was
            raise
        self._channel.learn(question.call, reading)
        request_id = response.headers.get("x-request-id")
        answer = reading.answer(
            identity=question.identity,
            purpose=question.call.purpose,
            endpoint=self._endpoint,
            model=question.call.model,
            attempts=question.attempts,
            latency_ms=round(1000 * seconds),
            request_id=request_id,
            wasted_usd=question.wasted_usd,
        )
        if used := answer.prompt_tokens + answer.completion_tokens:
            self._channel.limiter.refund(tokens - used)
        await self._writer.store(self._ledger, answer)
        return answer


def this_task() -> asyncio.Task[object]:
    """Return the task that this runs in."""
    task = asyncio.current_task()
    assert task is not None  # all of this runs in tasks
    return task
