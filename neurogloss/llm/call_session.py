"""The calls of one shard, from their identities to their outcomes."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from neurogloss.errors import Interrupted, RowError, RunError, Truncated
from neurogloss.llm.answer_writer import AnswerWriter
from neurogloss.llm.calls import Answer, Call, CallOutcome
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.model_client import ModelClient
from neurogloss.llm.retrying_sender import RetryingSender
from neurogloss.llm.run_context import LiveLimits, RunContext
from neurogloss.llm.single_flight import PendingCall, SingleFlight, this_task

log = logging.getLogger(__name__)

STOP_GRACE_S = 12.0  # a process that is told to stop is killed after 20
LOOK_EVERY_S = 0.2  # at `should_stop`, which costs nothing
STATE_EVERY_S = 1.0  # at the run's state and limits, which costs two queries
ELSEWHERE_EVERY_S = 0.3  # at a call that another process makes
ELSEWHERE_S = 600.0  # for which it is waited for
BLIND_S = 30.0  # for which calls are made while the run's state cannot be read


@dataclass(frozen=True, slots=True)
class SharedByProcess:
    """The objects that the sessions of all runs in a process share.

    Attributes:
        client: Returns the client of a model, within the limits of an endpoint.
        longest_wait_s: Between two attempts of a call.
    """

    client: Callable[[Endpoint, str], ModelClient]
    single_flight: SingleFlight
    writer: AnswerWriter
    longest_wait_s: float


class CallSession:
    """The calls of one shard to one model. Belongs to an event loop.

    While it runs it watches `should_stop`, the state of its run and the limits of its endpoint.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        context: RunContext,
        shared: SharedByProcess,
        should_stop: Callable[[], bool],
        process_stops: Callable[[], bool],
    ) -> None:
        self._endpoint, self._model = endpoint, model
        self._context, self._shared = context, shared
        self._should_stop, self._process_stops = should_stop, process_stops
        self._is_hurried = False
        self._single_flight = shared.single_flight
        self._sender = RetryingSender(
            shared.client(endpoint, model),
            context,
            shared.writer,
            shared.longest_wait_s,
            self._may_send,
        )
        self._live_limits: LiveLimits | None = None
        self._tasks: set[asyncio.Task[CallOutcome]] = set()
        self._ended: Exception | None = None
        self._seen_at = time.monotonic()  # when the state of the run was read last

    async def run(self, calls: Mapping[bytes, Call]) -> dict[bytes, CallOutcome]:
        """Return the outcome of each call, by its identity.

        Raises:
            RunError: The run is paused. What was in flight has been stored.
            Interrupted: The shard is to be given up, or the run was paused by someone else.
        """
        if self._context.halted is not None:
            raise Interrupted("the run is paused")
        self._context.sessions.add(self)
        watch = asyncio.create_task(self._watch())
        pending = [PendingCall(call, identity) for identity, call in calls.items()]
        own = [call for call in pending if self._single_flight.announce(call)]
        try:
            # The ledger is read after the announcement and the claim. If it were read before, a
            # session, of any process, could store an answer and hand its call on in between, and
            # the call be made twice.
            await self._claim(own)
            stored = await asyncio.to_thread(
                self._context.ledger.find, [call.identity for call in own]
            )
            return await self._outcomes(pending, stored)
        finally:
            watch.cancel()
            self._context.sessions.discard(self)
            for call in own:
                self._let_go(call)

    def end(self, error: Exception, grace_s: float) -> None:
        """Send nothing more. Answers that arrive within `grace_s` seconds are stored."""
        # The first error is the reason; later ones are its consequences.
        self._ended = self._ended or error
        self._cancel_unsent()
        asyncio.get_running_loop().call_later(grace_s, self._cancel_all)

    async def _outcomes(
        self, pending: list[PendingCall], stored: Mapping[bytes, Answer]
    ) -> dict[bytes, CallOutcome]:
        tasks = {
            call.identity: asyncio.create_task(
                self._answer_for_all(call, stored.get(call.identity))
                if call.future is not None
                else self._answer_of_another(call)
            )
            for call in pending
        }
        self._tasks.update(tasks.values())
        # It may have ended before there were tasks, while the ledger was read.
        if self._ended is not None:
            self._cancel_unsent()
        await asyncio.wait(self._tasks)
        errors = [error for task in self._tasks if (error := _error_of(task))]
        if self._ended is not None or errors:
            raise self._ended or errors[0]
        return {identity: task.result() for identity, task in tasks.items()}

    def _cancel_unsent(self) -> None:
        for task in self._tasks - self._sender.in_flight:
            task.cancel()

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    # Watching

    def _may_send(self) -> bool:
        """Return whether another call may be sent; end the session if it should stop."""
        if self._ended is None and self._should_stop():
            error = Interrupted("the worker is told to stop, or lost its lease")
            # What was paid for is worth storing, whoever has the shard by then.
            self.end(error, self._endpoint.timeout_s)
        self._hurry()
        return self._ended is None

    def _hurry(self) -> None:
        """Wait no longer for answers in flight than a process has left that is told to stop."""
        if self._ended is not None and not self._is_hurried and self._process_stops():
            self._is_hurried = True
            asyncio.get_running_loop().call_later(STOP_GRACE_S, self._cancel_all)

    async def _watch(self) -> None:
        look_at = time.monotonic() + STATE_EVERY_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._may_send() and time.monotonic() >= look_at:
                look_at = time.monotonic() + STATE_EVERY_S
                try:
                    await self._look_at_run()
                    self._seen_at = time.monotonic()
                except Exception as error:  # of any kind: a run that nobody watches is not paused
                    self._note_blindness(error)

    async def _look_at_run(self) -> None:
        await asyncio.to_thread(self._context.unanswered.store)
        if not await asyncio.to_thread(self._context.state.is_running):
            self.end(Interrupted("the run is paused"), self._endpoint.timeout_s)
        else:
            await self._apply_live_limits()

    def _note_blindness(self, error: Exception) -> None:
        """Log that the run cannot be looked at; end the session if that lasts."""
        log.warning("run not looked at", extra={"reason": type(error).__name__})
        if time.monotonic() - self._seen_at > BLIND_S:
            reason = f"the state of the run could not be read for {BLIND_S:.0f} s"
            self.end(Interrupted(reason), self._endpoint.timeout_s)

    async def _apply_live_limits(self) -> None:
        """Take over limits, prices and a budget that were changed since the last look."""
        limits = await asyncio.to_thread(self._context.state.live_limits, self._endpoint)
        if limits is None or limits == self._live_limits:
            return
        if limits.endpoint != self._endpoint:
            self._endpoint = limits.endpoint
            self._sender.client = self._shared.client(limits.endpoint, self._model)
        self._context.budget.renew()
        self._live_limits = limits

    # From a call to its outcome

    async def _answer_for_all(self, call: PendingCall, stored: Answer | None) -> CallOutcome:
        """Return the outcome of an announced call, and give it to the sessions that wait for it."""
        try:
            outcome = await self._outcome(call, stored)
            self._single_flight.resolve(call, outcome)
            return outcome
        except RunError as error:
            self._sender.in_flight.add(this_task())  # so that pausing the run is not cancelled
            await self._context.halt(error, self._endpoint.timeout_s)
            raise
        except Exception as error:
            # As from a ledger that cannot store: the calls of this shard would be paid in vain.
            self.end(error, self._endpoint.timeout_s)
            raise
        finally:
            self._let_go(call)

    async def _answer_of_another(self, call: PendingCall) -> CallOutcome:
        """Wait for the session that makes this call, and make it if that one gives it up."""
        while not self._single_flight.announce(call):
            outcome = await self._single_flight.wait(call.identity)
            if outcome is not None:
                return outcome
        # Neither claimed nor looked up in the ledger so far: `_outcome` does both.
        return await self._answer_for_all(call, None)

    async def _claim(self, calls: Sequence[PendingCall]) -> None:
        """Claim calls among all processes, unless another one has them."""
        identities = [call.identity for call in calls]
        elsewhere = await self._sender.client.limiter.claim(identities) if calls else set()
        for call in calls:
            call.is_claimed = call.identity not in elsewhere

    async def _stored_elsewhere(self, call: PendingCall) -> Answer | None:
        """Wait while another process makes a call; return its answer, if there is one by then."""
        deadline = time.monotonic() + ELSEWHERE_S
        await self._claim([call])
        while not call.is_claimed and time.monotonic() < deadline:
            await asyncio.sleep(ELSEWHERE_EVERY_S)
            await self._claim([call])
        return await self._find(call.identity)

    def _let_go(self, call: PendingCall) -> None:
        """Let other sessions have a call, of this process and of others."""
        self._single_flight.hand_on(call)
        if call.is_claimed:
            call.is_claimed = False
            self._sender.client.limiter.release_claims([call.identity])

    async def _outcome(self, pending: PendingCall, stored: Answer | None) -> CallOutcome:
        """Return the outcome of a call; where it was cut off, that of twice the token limit."""
        try:
            if stored is None and not pending.is_claimed:
                stored = await self._stored_elsewhere(pending)
            outcome = (stored or await self._sender.send(pending)).outcome()
            if isinstance(outcome, Truncated):
                # Another identity: the ledger may have it from an earlier attempt at this neuron.
                larger = pending.call.with_double_limit()
                identity = larger.identity(self._endpoint.base_url)
                answer = await self._find(identity)
                if answer is None:
                    answer = await self._sender.send(PendingCall(larger, identity))
                outcome = answer.outcome()
        except RowError as error:
            return error
        return outcome

    async def _find(self, identity: bytes) -> Answer | None:
        answers = await asyncio.to_thread(self._context.ledger.find, [identity])
        return answers.get(identity)


def _error_of(task: asyncio.Task[CallOutcome]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
