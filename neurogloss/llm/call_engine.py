"""Many calls at once, each answer stored before anyone reads it, no call made twice.

One event loop in a thread of the process serves the shards of all tasks, over one HTTP transport
and one connection to Redis.
"""

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial

from redis.asyncio import Redis

from neurogloss.llm.answer_writer import AnswerWriter
from neurogloss.llm.call_session import CallSession, SharedByProcess
from neurogloss.llm.calls import Call, CallOutcome
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.limiter import Limiter
from neurogloss.llm.model_client import ModelClient
from neurogloss.llm.outage_notes import NoteWriter, redis_address
from neurogloss.llm.redis_limits import RedisLimits
from neurogloss.llm.run_context import RunContext
from neurogloss.llm.single_flight import SingleFlight
from neurogloss.llm.transports import Transports

REDIS_TIMEOUT_S = 10.0  # a Redis that is frozen counts as away then


def _never() -> bool:
    return False


class CallEngine:
    """Makes calls, for all tasks of a process. Safe to use from several threads.

    Args:
        redis_url: Where limits are shared, as Celery writes it.
        longest_wait_s: Between two attempts of a call.
    """

    def __init__(self, redis_url: str, *, longest_wait_s: float = 20.0) -> None:
        self._redis_url = redis_address(redis_url)
        self._longest_wait_s = longest_wait_s
        # The random part tells a process from an earlier one with the same id, whose calls may
        # still count.
        self._process = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._clients: dict[tuple[str, str], ModelClient] = {}
        # A loop in a thread of its own, because Celery's tasks are synchronous and run in several
        # threads.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="calls")
        self._thread.start()
        # Within the loop, since connections belong to the loop that they are opened in.
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def run(
        self,
        endpoint: Endpoint,
        calls: Sequence[Call],
        context: RunContext,
        should_stop: Callable[[], bool] = _never,
        process_stops: Callable[[], bool] | None = None,
    ) -> list[CallOutcome]:
        """Return the answer to each call, or why that row fails, in the order of the calls.

        Args:
            endpoint: Its limits replace those under which its account was called before.
            calls: Of one model. Each is made once, however often it occurs and whichever other
                shards of this process need it, and not at all if the ledger has its answer.
            context: Of the run that pays.
            should_stop: Once it returns true, nothing more is sent. What is in flight then is
                stored if its answer comes before its timeout.
            process_stops: Once it returns true, too, answers have to come within seconds. By
                default, the process stops when `should_stop` says so.

        Raises:
            RunError: The whole run is affected. It is paused, and what was in flight is stored.
            Interrupted: `should_stop` returned true, or the run was paused by someone else.
        """
        if not calls:
            return []
        identities = [call.identity(endpoint.base_url) for call in calls]
        # Equal calls of a shard, as of two neurons with one explanation, are made once.
        distinct = dict(zip(identities, calls, strict=True))
        stops = (should_stop, process_stops or should_stop)
        session = self._run_session(endpoint, distinct, context, stops)
        outcomes = asyncio.run_coroutine_threadsafe(session, self._loop).result()
        return [outcomes[identity] for identity in identities]

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        # Threads of the executor may still be in the ledger; the loop must outlive them.
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _open(self) -> None:
        # Without a client around it: cookies, redirects and logs would cost a sixth of a call.
        self._transports = Transports()
        self._redis = Redis.from_url(self._redis_url, socket_timeout=REDIS_TIMEOUT_S)
        self._notes = NoteWriter(self._redis)
        self._writer = AnswerWriter()
        self._shared = SharedByProcess(
            self._client, SingleFlight(), self._writer, self._longest_wait_s
        )

    async def _close(self) -> None:
        for client in self._clients.values():
            await client.limiter.close()
        await self._writer.close()
        await self._transports.close()
        await self._redis.aclose()
        await asyncio.sleep(0.05)  # transports close a turn of the loop after their connections

    async def _run_session(
        self,
        endpoint: Endpoint,
        calls: dict[bytes, Call],
        context: RunContext,
        stops: tuple[Callable[[], bool], Callable[[], bool]],
    ) -> dict[bytes, CallOutcome]:
        # The budget may have been changed since the last shard.
        context.budget.renew()
        model = next(iter(calls.values())).model
        session = CallSession(endpoint, model, context, self._shared, *stops)
        return await session.run(calls)

    def _client(self, endpoint: Endpoint, model: str) -> ModelClient:
        """Return the client of a model, within the limits that the endpoint has by now.

        A client that takes the place of another keeps its limiter, with the queue of all shards.
        """
        # By account, not by name: two runs may name one endpoint differently, and share its limits.
        key = (endpoint.account, model)
        client = self._clients.get(key)
        if client is None or client.endpoint != endpoint:
            limits = RedisLimits(self._redis, endpoint, model, self._process)
            limiter = client.limiter if client else Limiter(limits)
            limiter.shared = limits
            http = self._transports.to(endpoint.base_url)
            tell = partial(self._notes.write, endpoint.base_url)
            self._clients[key] = ModelClient(http, endpoint, limiter, tell)
        return self._clients[key]
