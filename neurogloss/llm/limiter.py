"""Waiting for a turn: one queue for each model of an endpoint, first come, first served.

What the queue may let go is agreed with all other processes in one exchange for all calls that
wait, no more often than every few milliseconds, so that it costs next to nothing a call.
"""

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from itertools import islice

from redis.exceptions import RedisError

from neurogloss.llm.redis_limits import MOST_AT_ONCE, Grant, Report, SharedLimits

log = logging.getLogger(__name__)

COLLECT_S = 0.005  # calls that come within it share an exchange
SHORTEST_WAIT_S = 0.02
LONGEST_WAIT_S = 0.25  # half a bucket: what others give back is not overslept
STILL_HERE_S = 2.0  # how often a process says that its calls are still in flight
GIVE_UP_S = 300.0
KEEPS_TURNS_S = 1.0  # how long calls may follow each other without an exchange


class Limiter:
    """The queue of one model. Belongs to an event loop."""

    def __init__(self, shared: SharedLimits) -> None:
        self.shared = shared
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._in_flight = 0
        self._report = Report()
        self._change = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._away_since: float | None = None
        self._keeps_turns_until = 0.0  # as the last exchange said, unless there is news since

    async def take(self, tokens: int, *, first: bool = False) -> None:
        """Wait until a call of so many tokens may be sent; whoever took must `leave`.

        Args:
            tokens: Of its prompt, and at most of its answer.
            first: Whether to go before all others, as a call that was sent before.

        Raises:
            RedisError: Redis was away for minutes.
        """
        turn = asyncio.get_running_loop().create_future()
        (self._queue.appendleft if first else self._queue.append)((tokens, turn))
        self._change.set()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came in the same moment
                self.leave(unused=tokens)
            raise

    def leave(
        self, *, unused: int = 0, answered: int = 0, failed: int = 0, refused: int = 0
    ) -> None:
        """End a call that was taken, and say how. `unused` tokens go back.

        Its turn goes to the next call at once, where the number of calls is all that is limited.
        """
        self._in_flight -= 1
        if failed or refused:
            self._keeps_turns_until = 0.0
        if time.monotonic() < self._keeps_turns_until:
            self._begin_next()
        self._report.refund += unused
        self._report.answered += answered
        self._report.failed += failed
        self._report.refused += refused
        self._change.set()

    def refund(self, tokens: int) -> None:
        """Give back tokens that were taken and not used, or take more if negative."""
        self._report.refund += tokens

    def block(self, seconds: float) -> None:
        """Let nobody send anything for so long, in any process."""
        self._report.blocked_s = max(self._report.blocked_s, seconds)
        self._keeps_turns_until = 0.0
        self._change.set()

    def lower(self, ceilings: dict[str, float]) -> None:
        """Take over the limits that the server names, a second, where they are lower."""
        self._report.ceilings |= ceilings
        self._keeps_turns_until = 0.0

    async def close(self) -> None:
        """Stop; nobody waits any more."""
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump

    async def _run(self) -> None:
        """Exchange while there is something to say; the last time that nothing is left."""
        while True:
            self._change.clear()
            grant = await self._exchange()
            if not self._queue and not self._in_flight and not self._change.is_set():
                return
            await self._rest(grant)

    async def _rest(self, grant: Grant) -> None:
        """Sleep until another exchange may change something."""
        if not self._queue or grant.wait_s is None:
            longest = LONGEST_WAIT_S if self._queue else STILL_HERE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(longest):
                    await self._change.wait()
            await asyncio.sleep(COLLECT_S)
        else:
            await asyncio.sleep(min(max(grant.wait_s, SHORTEST_WAIT_S), LONGEST_WAIT_S))

    async def _exchange(self) -> Grant:
        while self._queue and self._queue[0][1].cancelled():
            self._queue.popleft()
        asked = list(islice(self._queue, MOST_AT_ONCE))
        report, self._report = self._report, Report()
        try:
            needs = [tokens for tokens, _ in asked]
            grant = await self.shared.exchange(report, needs, len(self._queue), self._in_flight)
        except (RedisError, OSError) as error:
            self._report.add(report)
            return self._without_redis(error)
        self._away_since = None
        has_news = self._report.failed or self._report.refused or self._report.blocked_s
        if grant.keeps_turns and not has_news and not self._report.ceilings:
            self._keeps_turns_until = time.monotonic() + KEEPS_TURNS_S
        else:
            self._keeps_turns_until = 0.0
        for tokens, turn in asked[: grant.calls]:
            if turn.done() and not turn.cancelled():  # it was given the turn of another meanwhile
                self._begin_next()
                continue
            self._queue.remove((tokens, turn))
            self._in_flight += 1
            if turn.cancelled():
                self.leave(unused=tokens)
            else:
                turn.set_result(None)
        return grant

    def _begin_next(self) -> None:
        """Let the first call that waits begin, without tokens of its own."""
        while self._queue:
            _, turn = self._queue.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
                return

    def _without_redis(self, error: Exception) -> Grant:
        """Wait on, or give up when Redis was away too long."""
        if self._away_since is None:
            log.warning("limits cannot be read, waiting: %s", error)
            self._away_since = time.monotonic()
        if time.monotonic() - self._away_since > GIVE_UP_S:
            while self._queue:
                _, turn = self._queue.popleft()
                if not turn.done():
                    turn.set_exception(error)
        return Grant(0, 1.0, 0)
