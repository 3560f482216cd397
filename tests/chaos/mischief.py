"""What an endpoint does to a few of its answers, which are paid for by then."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TIMEOUT_S = 10.0  # that runs give an answer
ENDLESS_BYTES = 128 << 20
_CHUNK = b" " * (1 << 20)
_DRIP_S = 0.2
_BATCH_LATENCY_S = 0.25
LIES: Final[tuple[Any, ...]] = (
    None,
    {"prompt_tokens": -50, "completion_tokens": -7, "total_tokens": -57},
    {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10**6}},
    {"prompt_tokens": 10**30, "completion_tokens": 1e300, "total_tokens": "many"},
    {"prompt_tokens": [1], "completion_tokens": {"a": 1}, "prompt_tokens_details": "cached"},
    "none of your business",
)


class Mischief:
    """Belongs to a server; is told from other threads what to do.

    Attributes:
        in_flight: Requests that are being answered.
        spoilt: Answers to calls that did not arrive.
        lies: Answers to calls whose usage was made up.
        most_taken: Bytes that a client took of an answer without an end.
        batches: Batches that were asked for.
    """

    def __init__(self) -> None:
        self._do: Callable[[web.Request, web.Response], Awaitable[web.StreamResponse]] | None = None
        self._left = 0
        self._dice = random.Random(0)
        self.in_flight = self.spoilt = self.lies = self.most_taken = self.batches = 0

    def begin(self, how: str, times: int) -> None:
        """Do something to so many answers: the name of a method of this class."""
        self._do, self._left = getattr(self, how), times

    def is_on(self) -> bool:
        return self._left > 0

    def end(self) -> None:
        """Answer as one should."""
        self._left = 0

    @web.middleware
    async def around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request; files and batches take a while, as calls do."""
        if request.method == "POST" and not request.path.endswith("/completions"):
            await asyncio.sleep(_BATCH_LATENCY_S)
        self.batches += request.method == "POST" and request.path.endswith("/batches")
        self.in_flight += 1
        try:
            response = await handler(request)
            is_answer = isinstance(response, web.Response) and response.status == 200
            if not is_answer or self._do is None or not self._takes(request):
                return response
            self._left -= 1
            return await self._do(request, response)
        finally:
            self.in_flight -= 1

    def _takes(self, request: web.Request) -> bool:
        is_call = request.path.endswith("/completions")
        return self._left > 0 and (is_call or self._do == self.break_off)

    def _spoil(self, request: web.Request) -> None:
        self.spoilt += request.path.endswith("/completions")

    async def lie(self, request: web.Request, response: web.Response) -> web.Response:
        """Make the usage up, or leave it out."""
        self.lies += 1
        body = orjson.loads(bytes(response.body))
        body["usage"] = self._dice.choice(LIES)
        if body["usage"] is None:
            del body["usage"]
        return web.json_response(body, dumps=json.dumps)

    async def break_off(self, request: web.Request, response: web.Response) -> web.Response:
        """Close the connection in place of an answer: of a call, a file or a batch."""
        self._spoil(request)
        if request.transport is not None:
            request.transport.close()
        return response

    async def be_late(self, request: web.Request, response: web.Response) -> web.Response:
        """Answer once the client has given up."""
        self._spoil(request)
        await asyncio.sleep(TIMEOUT_S + 1.0)
        return response

    async def drip(self, request: web.Request, response: web.Response) -> web.StreamResponse:
        """Send a byte now and then, and never the last one."""
        self._spoil(request)
        stream = await _begin(request)
        try:
            for byte in bytes(response.body)[:-1]:
                await stream.write(bytes([byte]))
                await asyncio.sleep(_DRIP_S)
        except ConnectionError:
            pass
        return stream

    async def never_end(self, request: web.Request, response: web.Response) -> web.StreamResponse:
        """Send the answer, and then more as fast as it is taken."""
        self._spoil(request)
        stream = await _begin(request)
        taken = 0
        try:
            await stream.write(bytes(response.body)[:-1])
            while taken < ENDLESS_BYTES:
                await stream.write(_CHUNK)
                taken += len(_CHUNK)
                self.most_taken = max(self.most_taken, taken)
        except ConnectionError:
            pass
        return stream


async def _begin(request: web.Request) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "application/json"})
    await stream.prepare(request)
    return stream
