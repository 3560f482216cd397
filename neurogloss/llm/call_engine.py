"""Many calls at once, each stored before anyone reads it, none asked twice.

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

import aiohttp
from httpx_aiohttp import AiohttpTransport
from redis.asyncio import Redis

from neurogloss.errors import RowError
from neurogloss.llm.answer_writer import AnswerWriter
from neurogloss.llm.call_session import CallSession, RunContext
from neurogloss.llm.calls import Answer, Call
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.limiter import Limiter
from neurogloss.llm.model_client import ModelClient
from neurogloss.llm.redis_limits import RedisLimits
from neurogloss.llm.sender import Outcome

REDIS_TIMEOUT_S = 10.0
_KEEP_ALIVE_S = 30.0


def _never() -> bool:
    return False


class CallEngine:
    """Asks endpoints, for all tasks of a process. Safe to use from several threads.

    Args:
        redis_url: Where limits are shared, as Celery writes it.
        longest_wait_s: Between two attempts of a call.
    """

    def __init__(self, redis_url: str, *, longest_wait_s: float = 20.0) -> None:
        self._redis_url = redis_url.replace("redis+socket://", "unix://", 1)
        self._longest_wait_s = longest_wait_s
        self._process = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._channels: dict[tuple[str, str], ModelClient] = {}
        self._asked: dict[bytes, Outcome] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="calls")
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def run(
        self,
        endpoint: Endpoint,
        calls: Sequence[Call],
        account: RunContext,
        should_stop: Callable[[], bool] = _never,
    ) -> list[Answer | RowError]:
        """Return the answer to each call, or why that row fails, in the order of the calls.

        Args:
            endpoint: Its limits are taken over, also where it was asked under others before.
            calls: Of one model. Asked once each, however often they occur and whoever else asks
                them in this process, unless the ledger has the answer.
            account: The run that asks and pays.
            should_stop: Once it returns true, nothing more is sent; what is in flight is stored
                if it comes soon.

        Raises:
            RunError: The whole run is affected. It is paused, and what was in flight is stored.
            Interrupted: `should_stop` returned true, or the run was paused by someone else.
        """
        if not calls:
            return []
        identities = [call.identity(endpoint.base_url) for call in calls]
        questions = dict(zip(identities, calls, strict=True))
        work = self._run(endpoint, questions, account, should_stop)
        found = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        return [found[identity] for identity in identities]

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _open(self) -> None:
        # Without a client around it: cookies, redirects and logs would cost a sixth of a call.
        self._http = _transport()
        self._redis = Redis.from_url(self._redis_url, socket_timeout=REDIS_TIMEOUT_S)
        self._writer = AnswerWriter()

    async def _close(self) -> None:
        for channel in self._channels.values():
            await channel.limiter.close()
        await self._writer.close()
        await self._http.aclose()
        await self._redis.aclose()
        await asyncio.sleep(0.05)  # transports close a turn of the loop after their connections

    async def _run(
        self,
        endpoint: Endpoint,
        questions: dict[bytes, Call],
        account: RunContext,
        should_stop: Callable[[], bool],
    ) -> dict[bytes, Answer | RowError]:
        account.budget.renew()
        model = next(iter(questions.values())).model
        reach = partial(self._channel, model)
        asking = CallSession(
            endpoint, reach, account, self._writer, self._asked, self._longest_wait_s, should_stop
        )
        return await asking.run(questions)

    def _channel(self, model: str, endpoint: Endpoint) -> ModelClient:
        """Return the channel to a model, within the limits that the endpoint has by now."""
        key = (endpoint.account, model)
        found = self._channels.get(key)
        if found is None or found.endpoint != endpoint:
            shared = RedisLimits(self._redis, endpoint, model, self._process)
            limiter = found.limiter if found else Limiter(shared)
            limiter.shared = shared
            self._channels[key] = ModelClient(self._http, endpoint, limiter)
        return self._channels[key]


def _transport() -> AiohttpTransport:
    """Return a transport without limits, which are the limiter's, and without cookies."""
    transport = AiohttpTransport()
    connector = aiohttp.TCPConnector(
        limit=0, keepalive_timeout=_KEEP_ALIVE_S, ssl=transport.ssl_context
    )
    transport.client = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    )
    return transport
