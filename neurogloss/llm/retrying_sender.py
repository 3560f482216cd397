"""Sending one call until it is answered, within the limits and the budget."""

import asyncio
import time
from collections.abc import Callable

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from neurogloss.errors import (
    NeuroglossError,
    RateLimited,
    ServiceUnavailable,
)
from neurogloss.llm.answer_writer import AnswerWriter
from neurogloss.llm.calls import Answer
from neurogloss.llm.model_client import BELIEVED, ModelClient
from neurogloss.llm.responses import read_completion
from neurogloss.llm.run_context import RunContext
from neurogloss.llm.server_text import request_id
from neurogloss.llm.single_flight import PendingCall, this_task
from neurogloss.llm.usage import usage_of

# In all about 15 s: a lost connection or a fault behind a proxy is over by then. Longer outages of
# the whole server are waited for by `Outage`, and spend no attempt.
ATTEMPTS = 6  # with five waits between them, of up to 0.5, 1, 2, 4 and 8 s
PATIENCE_S = 600.0  # each attempt may last until its timeout, which is minutes
WAITS_PATIENCE_S = 900.0  # of one call, while others are answered


class RetryingSender:
    """Sends the calls of one session. Belongs to an event loop.

    Attributes:
        client: Of the model; another one takes its place where the endpoint's limits change.
        in_flight: The tasks whose call was sent, and whose answer is not stored yet.
    """

    def __init__(
        self,
        client: ModelClient,
        context: RunContext,
        writer: AnswerWriter,
        longest_wait_s: float,
        may_send: Callable[[], bool],
    ) -> None:
        self.client = client
        self._ledger, self._budget = context.ledger, context.budget
        self._unanswered = context.unanswered
        self._writer = writer
        self._longest_wait_s = longest_wait_s
        self._may_send = may_send
        self.in_flight: set[asyncio.Task[object]] = set()

    async def send(self, pending: PendingCall) -> Answer:
        """Return a stored answer, after as many attempts as its failures allow.

        The first attempt is made without tenacity, whose bookkeeping costs more than our own.

        Raises:
            RowError: This call gets no answer.
            RunError: No call would get one.
            asyncio.CancelledError: `may_send` returned False.
        """
        try:
            return await self._send_past_waits(pending)
        except ServiceUnavailable as error:
            return await self._send_again(pending, error)
        finally:
            self._unanswered.ended(pending.identity)

    async def _send_again(self, pending: PendingCall, first: ServiceUnavailable) -> Answer:
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
                    # Tenacity counts, and waits after, the attempt that was made without it.
                    if attempt.retry_state.attempt_number == 1:
                        raise first
                    return await self._send_past_waits(pending)
        except ServiceUnavailable as last:
            raise self.client.record_no_answer(str(last), pending.attempts) from last
        raise AssertionError("tenacity returns or raises")

    async def _sleep(self, seconds: float) -> None:
        self._check_may_send()
        await asyncio.sleep(seconds)

    def _check_may_send(self) -> None:
        if not self._may_send():
            raise asyncio.CancelledError

    async def _send_past_waits(self, pending: PendingCall) -> Answer:
        """Send until it is neither refused for the rate nor away, which spends no attempt."""
        deadline = time.monotonic() + WAITS_PATIENCE_S
        was_sent = pending.attempts > 0
        while True:
            try:
                return await self._send_within_limits(pending, first=was_sent)
            except (RateLimited, ServiceUnavailable) as error:
                seconds = self.client.seconds_to_wait(error)
                if seconds is None:
                    self.client.note_failure(pending.call.model, error)
                    raise
                self.client.limiter.block(seconds)
                if time.monotonic() > deadline:
                    raise self.client.record_no_answer(str(error), pending.attempts) from error
                pending.attempts -= 1
                was_sent = True

    async def _send_within_limits(self, pending: PendingCall, *, first: bool) -> Answer:
        """Send once, within the limits and the budget, and store the answer.

        The call counts as in flight until its answer is stored. So no more paid answers are at risk
        than may be in flight, and a database that is away stops the sending.
        """
        self._check_may_send()
        call, limiter, budget = pending.call, self.client.limiter, self._budget
        prompt = self.client.estimate_prompt_tokens(call)
        tokens = prompt + call.max_completion_tokens
        # The most that it may cost: nothing is cached, and the answer uses its whole limit.
        usd = self.client.endpoint.price(call.model).cost(prompt, 0, call.max_completion_tokens)
        await limiter.acquire(tokens, first=first)
        # The limits come first: calls that wait for a turn must not hold money that others need.
        try:
            await budget.reserve(usd)
        except BaseException:  # a cancelled call must give its tokens back too
            limiter.release(unused=tokens)
            raise
        paid = 0.0
        try:
            self._check_may_send()  # the lease may have ended while this waited for its turn
            self.in_flight.add(this_task())
            answer = await self._send_once(pending, tokens)
            paid = answer.usd + answer.wasted_usd
            limiter.release(answered=1)
            return answer
        except BaseException as error:
            limiter.release(
                unused=tokens,
                refused=isinstance(error, RateLimited),
                failed=isinstance(error, ServiceUnavailable),
            )
            if isinstance(error, NeuroglossError):
                endpoint = self.client.endpoint.name
                self._unanswered.failed(call, pending.identity, endpoint, error)
            raise
        finally:
            self.in_flight.discard(this_task())
            budget.settle(usd, paid)

    async def _send_once(self, pending: PendingCall, tokens: int) -> Answer:
        """Send, read and store; `tokens` are those that the limiter has granted."""
        call = pending.call
        pending.attempts += 1
        started = time.monotonic()
        response, body = await self.client.post(call)
        seconds = time.monotonic() - started
        secret = self.client.endpoint.api_key
        try:
            completion = read_completion(response.content, body, secret).counted(call)
        except NeuroglossError:
            # The least that it cost: without usage, nobody says how long the answer was.
            usage = usage_of(response.content) or (call.prompt_tokens, 0, 0)
            pending.wasted_usd += self.client.endpoint.price(call.model).cost(*usage)
            raise
        self.client.record_usage(call, completion)
        answer = completion.answer(
            identity=pending.identity,
            purpose=call.purpose,
            endpoint=self.client.endpoint,
            model=call.model,
            attempts=pending.attempts,
            latency_ms=round(1000 * seconds),
            request_id=request_id(response, secret),
            wasted_usd=pending.wasted_usd,
        )
        if used := answer.prompt_tokens + answer.completion_tokens:
            self.client.limiter.refund(tokens - min(used, BELIEVED * tokens))
        await self._writer.store(self._ledger, answer)
        return answer
