"""One request for each call identity, however many shards of a process need its answer."""

import asyncio
from dataclasses import dataclass

from neurogloss.llm.calls import Call, CallOutcome


@dataclass(slots=True)
class PendingCall:
    """A call that has no outcome yet.

    Attributes:
        attempts: Requests that were sent for it, without those that met a rate limit.
        wasted_usd: Paid for replies that could not be read.
        future: Resolves to its outcome, for other sessions; set once `SingleFlight` announced it.
        is_claimed: No other process makes it; see `neurogloss.llm.claims`.
    """

    call: Call
    identity: bytes
    attempts: int = 0
    wasted_usd: float = 0.0
    future: asyncio.Future[CallOutcome] | None = None
    is_claimed: bool = False


class SingleFlight:
    """In-flight futures by call identity, shared by all sessions of a process.

    The session that announces a call makes it, and hands it on in the end, with or without an
    outcome. The others wait; if there is no outcome, the first of them announces the call again.
    Belongs to an event loop.
    """

    def __init__(self) -> None:
        self._futures: dict[bytes, asyncio.Future[CallOutcome]] = {}

    def announce(self, pending: PendingCall) -> bool:
        """Take a call on; return False if another session has it."""
        if pending.identity in self._futures:
            return False
        self._futures[pending.identity] = pending.future = asyncio.Future()
        return True

    async def wait(self, identity: bytes) -> CallOutcome | None:
        """Return the outcome of a call that another session has; None if that one gave it up."""
        future = self._futures.get(identity)
        if future is None:
            return None
        try:
            return await asyncio.shield(future)  # the others wait for it too
        except asyncio.CancelledError:
            if this_task().cancelling():  # not the future was cancelled, but this task
                raise
            return None

    def resolve(self, pending: PendingCall, outcome: CallOutcome) -> None:
        """Give the outcome of an announced call to all sessions that wait for it."""
        if pending.future is not None:
            pending.future.set_result(outcome)

    def hand_on(self, pending: PendingCall) -> None:
        """Let a call go. Does nothing if another session has it, or nobody."""
        # Compared by identity: after it was handed on once, another session may have announced it.
        future = pending.future
        if future is not None and self._futures.get(pending.identity) is future:
            del self._futures[pending.identity]
            future.cancel()  # wakes those who wait, unless it is resolved


def this_task() -> asyncio.Task[object]:
    """Return the task that this runs in."""
    task = asyncio.current_task()
    assert task is not None  # all calls run in tasks
    return task
