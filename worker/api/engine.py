"""Many calls at once, each stored before anyone reads it, none asked twice.

One event loop runs in a thread of the process and serves every task. Answers are written in small
batches, off the loop.
"""

import asyncio
import dataclasses
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import orjson
from httpx_aiohttp import AiohttpTransport
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from worker.api.calls import Answer, Call, Ledger
from worker.api.dialect import Dialect
from worker.api.endpoint import Endpoint
from worker.api.limiter import Limiter
from worker.api.responses import Reading, UnsupportedParameter, check, read_completion
from worker.errors import (
    EndpointUnreachable,
    Interrupted,
    RateLimited,
    Refused,
    RowError,
    RunError,
    ServiceUnavailable,
    Truncated,
    Unavailable,
)

ATTEMPTS = 6
RATE_LIMIT_PATIENCE_S = 900.0
STOP_GRACE_S = 5.0
_BATCH = 64
_BATCH_WAIT_S = 0.02


class CallEngine:
    """Asks one endpoint, for all tasks of a process."""

    def __init__(
        self, endpoint: Endpoint, limiter: Limiter, ledger: Ledger, *, longest_wait_s: float = 20.0
    ) -> None:
        self._endpoint, self._limiter, self._ledger = endpoint, limiter, ledger
        self._longest_wait_s = longest_wait_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="calls")
        self._started = threading.Lock()
        self._http: httpx.AsyncClient | None = None
        self._dialects: defaultdict[str, Dialect] = defaultdict(Dialect)  # by model
        self._reached = False
        self._unavailable = 0

    def run(
        self,
        calls: Sequence[Call],
        *,
        stop: threading.Event | None = None,
        reserve: Callable[[float], None] | None = None,
    ) -> list[Answer | RowError]:
        """Return the answer to each call, or why that row fails, in the order of the calls.

        Args:
            calls: Asked once each, however often they occur, unless the ledger has the answer.
            stop: When set, nothing more is sent; what is under way is stored if it comes soon.
            reserve: Called with the USD a call may cost at most, before it is sent.

        Raises:
            RunError: The whole run is affected, or `reserve` said so.
            Interrupted: `stop` was set.
        """
        base = self._endpoint.base_url
        questions = {call.identity(base): call for call in calls}
        larger = [_with_double_limit(call).identity(base) for call in questions.values()]
        known = self._ledger.find([*questions, *larger])
        with self._started:
            if not self._thread.is_alive():
                self._thread.start()
        work = self._run(questions, known, stop or threading.Event(), reserve)
        found = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        return [found[call.identity(base)] for call in calls]

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _disconnect(self) -> None:
        if self._http is not None:
            await self._http.aclose()
        await self._limiter.close()
        await asyncio.sleep(0.05)  # transports close a turn of the loop after their connections

    async def _run(
        self,
        calls: dict[bytes, Call],
        known: dict[bytes, Answer],
        stop: threading.Event,
        reserve: Callable[[float], None] | None,
    ) -> dict[bytes, Answer | RowError]:
        if self._http is None:
            self._http = self._connect()
            self._slots = asyncio.Semaphore(self._endpoint.max_in_flight)
        writer = _Writer(self._ledger, known)
        tasks = {
            identity: asyncio.create_task(self._answer(call, identity, writer, reserve))
            for identity, call in calls.items()
        }
        watch = asyncio.create_task(_wait_for(stop))
        writing = asyncio.create_task(writer.run())
        try:
            await _all_or_stop(list(tasks.values()), watch)
            return {identity: task.result() for identity, task in tasks.items()}
        finally:
            await _cancel([*tasks.values(), watch])
            await writer.close(writing)

    def _connect(self) -> httpx.AsyncClient:
        key = self._endpoint.api_key
        limits = httpx.Limits(max_connections=self._endpoint.max_in_flight)
        return httpx.AsyncClient(
            base_url=self._endpoint.base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self._endpoint.timeout_s, connect=10.0),
            transport=AiohttpTransport(limits=limits),
            follow_redirects=False,
        )

    async def _answer(
        self,
        call: Call,
        identity: bytes,
        writer: "_Writer",
        reserve: Callable[[float], None] | None,
    ) -> Answer | RowError:
        try:
            answer = await self._ask(call, identity, writer, reserve)
            outcome = _usable(answer)
            if isinstance(outcome, Truncated):
                larger = _with_double_limit(call)
                larger_identity = larger.identity(self._endpoint.base_url)
                outcome = _usable(await self._ask(larger, larger_identity, writer, reserve))
            return outcome
        except RowError as error:
            return error
        except RunError as error:
            writer.halted = error
            raise

    async def _ask(
        self,
        call: Call,
        identity: bytes,
        writer: "_Writer",
        reserve: Callable[[float], None] | None,
    ) -> Answer:
        """Return a stored answer to one call, asking as often as its failures allow."""
        if identity in writer.known:
            return writer.known[identity]
        price = self._endpoint.price(call.model)
        async with self._slots:
            if writer.halted is not None:
                raise writer.halted
            if reserve is not None:
                reserve(price.cost(call.prompt_tokens, 0, call.max_completion_tokens))
            started = time.monotonic()
            reading, request_id, attempts = await self._persist(call)
            usage = reading.prompt_tokens, reading.cached_tokens, reading.completion_tokens
            answer = Answer(
                identity=identity,
                purpose=call.purpose,
                endpoint=self._endpoint.name,
                model=call.model,
                text=reading.text,
                finish_reason=reading.finish_reason,
                refusal=reading.refusal,
                distributions=reading.distributions,
                prompt_tokens=reading.prompt_tokens,
                cached_tokens=reading.cached_tokens,
                completion_tokens=reading.completion_tokens,
                usd=price.cost(*usage),
                wasted_usd=0.0,
                attempts=attempts,
                latency_ms=round(1000 * (time.monotonic() - started)),
                request_id=request_id,
            )
            await writer.store(answer)
        return answer

    async def _persist(self, call: Call) -> tuple[Reading, str | None, int]:
        """Send until an answer comes; return it, its request id, and the number of attempts."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(ServiceUnavailable),
            wait=wait_random_exponential(multiplier=0.5, max=self._longest_wait_s),
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    reading, request_id = await self._send(call)
                    number = attempt.retry_state.attempt_number
        except ServiceUnavailable as error:
            self._unavailable += 1
            if not self._reached and self._unavailable >= 10:
                raise EndpointUnreachable(f"{self._endpoint.name}: {error}") from error
            raise Unavailable(str(error), ATTEMPTS) from error
        self._reached = True
        return reading, request_id, number

    async def _send(self, call: Call) -> tuple[Reading, str | None]:
        """Send once, waiting for the limits; being refused for the rate spends no attempt."""
        deadline = time.monotonic() + RATE_LIMIT_PATIENCE_S
        reserved = call.prompt_tokens + call.max_completion_tokens
        dialect = self._dialects[call.model]
        while True:
            await self._limiter.take(reserved)
            try:
                body = dialect.adapt(call.body)
                response = await self._post(call.path, body)
                reading = read_completion(response.content, body)
            except RateLimited as error:
                await self._limiter.penalize(error.retry_after)
                if time.monotonic() > deadline:
                    raise Unavailable(str(error)) from error
                continue
            except UnsupportedParameter as error:
                dialect.learn(error, body, call.model)
                continue
            if used := reading.prompt_tokens + reading.completion_tokens:
                await self._limiter.refund(reserved - used)
            return reading, response.headers.get("x-request-id")

    async def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        assert self._http is not None
        try:
            response = await self._http.post(
                path.lstrip("/"),
                content=orjson.dumps(body),
                headers={"Content-Type": "application/json"},
            )
        except (httpx.TransportError, httpx.DecodingError) as error:
            reason = str(error) or type(error).__name__
            raise ServiceUnavailable(f"no answer from the endpoint: {reason}") from error
        check(response, self._endpoint.api_key)
        return response


def _usable(answer: Answer) -> Answer | RowError:
    """Return the answer, or what is wrong with it as a whole."""
    if answer.refusal or answer.finish_reason == "content_filter":
        reason = answer.refusal or "stopped by a content filter"
        return Refused(reason[:300], answer.attempts, answer.request_id)
    if answer.finish_reason == "length":
        reason = f"cut off after {answer.completion_tokens} tokens"
        return Truncated(reason, answer.attempts, answer.request_id)
    return answer


def _with_double_limit(call: Call) -> Call:
    body = dict(call.body)
    name = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    body[name] = 2 * call.max_completion_tokens
    return dataclasses.replace(call, body=body)


async def _wait_for(stop: threading.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(0.1)


async def _all_or_stop(tasks: list[asyncio.Task[Any]], watch: asyncio.Task[None]) -> None:
    """Wait for all tasks; the first that raises, or `watch`, ends the waiting.

    Raises:
        Interrupted: `watch` ended first.
    """
    waiting = {*tasks, watch}
    while any(not task.done() for task in tasks):
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {watch}:
            task.result()
        if watch in done:
            await asyncio.wait(tasks, timeout=STOP_GRACE_S)
            raise Interrupted


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Writer:
    """Stores answers in batches, off the loop, and tells when each is stored."""

    def __init__(self, ledger: Ledger, known: dict[bytes, Answer]) -> None:
        self._ledger = ledger
        self.known = known
        self.halted: RunError | None = None  # nothing is sent any more
        self._queue: asyncio.Queue[tuple[Answer, asyncio.Future[None]] | None] = asyncio.Queue()

    async def store(self, answer: Answer) -> None:
        """Return when the answer is stored; it is, even if the caller is cancelled meanwhile."""
        stored = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((answer, stored))
        await asyncio.shield(stored)

    async def run(self) -> None:
        """Write until `close`."""
        last = False
        while not last:
            batch = [await self._queue.get()]
            await asyncio.sleep(_BATCH_WAIT_S)
            while not self._queue.empty() and len(batch) < _BATCH:
                batch.append(self._queue.get_nowait())
            last = None in batch
            await self._write([entry for entry in batch if entry is not None])

    async def _write(self, batch: list[tuple[Answer, asyncio.Future[None]]]) -> None:
        if not batch:
            return
        try:
            await asyncio.to_thread(self._ledger.save, [answer for answer, _ in batch])
        except Exception as error:  # whatever it is, it belongs to those who wait
            for _, stored in batch:
                stored.set_exception(error)
        else:
            for _, stored in batch:
                stored.set_result(None)

    async def close(self, writing: asyncio.Task[None]) -> None:
        """Write what is left."""
        self._queue.put_nowait(None)
        await writing
