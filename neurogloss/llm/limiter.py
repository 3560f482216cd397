"""Waiting for a turn: one queue for each model of an endpoint, first come, first served.

How many calls may leave the queue is agreed with the other processes, in one exchange for all calls
that wait, at most every few milliseconds: so limits cost next to nothing for each call.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import islice

from redis.exceptions import RedisError

from neurogloss.llm.claims import Claims
from neurogloss.llm.redis_limits import MOST_AT_ONCE, Grant, Report, SharedLimits

log = logging.getLogger(__name__)

COLLECT_S = 0.005  # calls that come within it share an exchange
SHORTEST_WAIT_S = 0.02
LONGEST_WAIT_S = 0.25  # half a bucket: tokens that other processes give back are not missed
STILL_HERE_S = 2.0  # how often a process reports that its calls are still in flight
GIVE_UP_S = 300.0  # without Redis
LAST_EXCHANGE_S = 1.0
KEEPS_TURNS_S = 1.0  # how long calls may follow each other without an exchange


class Limiter:
    """The queue of one model. Belongs to an event loop."""

    def __init__(self, shared: SharedLimits) -> None:
        self.shared = shared
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._claims = Claims()
        self._in_flight = 0
        self._report = Report()
        self._change = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._away_since: float | None = None
        self._keeps_turns_until = 0.0  # by the last exchange; 0 after anything that it must know

    async def acquire(self, tokens: int, *, first: bool = False) -> None:
        """Wait until a call may be sent. After it, `release` must be called.

        Args:
            tokens: Of its prompt, and the most that its answer may have.
            first: Whether to go before all others, as a call that was sent before.

        Raises:
            RedisError: Redis was away for minutes.
        """
        # A future for each call instead of a semaphore: turns are granted by Redis, many at a time.
        turn = asyncio.get_running_loop().create_future()
        (self._queue.appendleft if first else self._queue.append)((tokens, turn))
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            # Its turn may have come in the same moment, and must not be lost.
            if turn.done() and not turn.cancelled():
                self.release(unused=tokens)
            raise

    def release(
        self, *, unused: int = 0, answered: int = 0, failed: int = 0, refused: int = 0
    ) -> None:
        """End a call that was acquired, and report how it ended. `unused` tokens go back.

        Where only the number of calls is limited, the next call begins at once.
        """
        self._in_flight -= 1
        # After a fault the shared limit may shrink: the next call waits for an exchange.
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
        """Give back tokens that were acquired and not used; if negative, count more as used."""
        self._report.refund += tokens

    def block(self, seconds: float) -> None:
        """Stop sending for so long, in all processes."""
        self._report.blocked_s = max(self._report.blocked_s, seconds)
        self._keeps_turns_until = 0.0
        self._change.set()

    def lower(self, ceilings: dict[str, float]) -> None:
        """Take over limits per second that the server named, where they are lower."""
        self._report.ceilings |= ceilings
        self._keeps_turns_until = 0.0

    async def claim(self, identities: Sequence[bytes]) -> set[bytes]:
        """Claim calls among all processes; return those that another one is about to make.

        All others are ours until `release_claims`, or until this process is not heard of for
        seconds. While Redis is away they are ours too, and perhaps others' as well.
        """
        found = self._claims.request(identities)
        self._wake()
        return await found

    def release_claims(self, identities: Collection[bytes]) -> None:
        """Let other processes have calls, or find their answers."""
        self._claims.release(identities)
        self._change.set()

    async def close(self) -> None:
        """Stop the exchanges, after a last one if there are claims. No call waits any more."""
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump
        if self._claims:  # which others would wait for until this process is not heard of
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_EXCHANGE_S):
                    await self._exchange()

    def _wake(self) -> None:
        """Have an exchange made as soon as it may be."""
        self._change.set()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Exchange while calls wait or are in flight, and once after the last one has ended."""
        while True:
            self._change.clear()
            grant = await self._exchange()
            is_idle = not (self._queue or self._in_flight or self._claims)
            if is_idle and not self._change.is_set():
                return
            await self._rest(grant)

    async def _rest(self, grant: Grant) -> None:
        """Sleep until another exchange could grant a call or has something to report."""
        if not self._queue or grant.wait_s is None:
            longest = LONGEST_WAIT_S if self._queue else STILL_HERE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(longest):
                    await self._change.wait()
            # The calls of a shard arrive, and end, within milliseconds of each other.
            await asyncio.sleep(COLLECT_S)
        else:
            await asyncio.sleep(min(max(grant.wait_s, SHORTEST_WAIT_S), LONGEST_WAIT_S))

    async def _exchange(self) -> Grant:
        while self._queue and self._queue[0][1].cancelled():
            self._queue.popleft()
        first = list(islice(self._queue, MOST_AT_ONCE))
        # Taken before the exchange: what calls report meanwhile belongs to the next one.
        report, self._report = self._report, Report()
        report.claims = self._claims.changes()
        try:
            needs = [tokens for tokens, _ in first]
            grant = await self.shared.exchange(report, needs, len(self._queue), self._in_flight)
        except (RedisError, OSError) as error:
            # Not delivered, so it has to be reported again.
            self._report.add(report)
            self._claims.failed(report.claims)
            return self._without_redis(error)
        self._claims.exchanged(grant.elsewhere)
        if self._away_since is not None:
            seconds = round(time.monotonic() - self._away_since, 1)
            log.info("service back", extra={"service": "redis", "seconds": seconds})
            self._away_since = None
        # What was reported during the exchange is not in the grant yet.
        has_news = self._report.failed or self._report.refused or self._report.blocked_s
        if grant.keeps_turns and not has_news and not self._report.ceilings:
            self._keeps_turns_until = time.monotonic() + KEEPS_TURNS_S
        else:
            self._keeps_turns_until = 0.0
        for tokens, turn in first[: grant.calls]:
            self._begin(tokens, turn)
        return grant

    def _begin(self, tokens: int, turn: asyncio.Future[None]) -> None:
        """Let a granted call begin, or the next one, if it took the turn of another meanwhile."""
        if turn.done() and not turn.cancelled():
            self._begin_next()
            return
        # Near the front: others may have gone before it by `first` during the exchange.
        with suppress(ValueError):  # `_begin_next` dropped it, if it was cancelled meanwhile
            self._queue.remove((tokens, turn))
        self._in_flight += 1
        if turn.cancelled():
            self.release(unused=tokens)
        else:
            turn.set_result(None)

    def _begin_next(self) -> None:
        """Let the first call that waits begin, for which no tokens were granted."""
        while self._queue:
            _, turn = self._queue.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
                return

    def _without_redis(self, error: Exception) -> Grant:
        """Grant nothing; if Redis was away too long, raise the error in all calls that wait."""
        if self._away_since is None:
            log.warning("service away", extra={"service": "redis", "reason": str(error)})
            self._away_since = time.monotonic()
        if time.monotonic() - self._away_since > GIVE_UP_S:
            while self._queue:
                _, turn = self._queue.popleft()
                if not turn.done():
                    turn.set_exception(error)
        return Grant(0, 1.0, 0)
