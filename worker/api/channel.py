"""One model of an endpoint: sending a request, and what is learnt from its replies."""

import math
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import httpx
import orjson

from worker.api.calls import Call
from worker.api.dialect import Dialect
from worker.api.endpoint import Endpoint
from worker.api.limiter import Limiter
from worker.api.responses import Reading, UnsupportedParameter, check
from worker.errors import EndpointUnreachable, RowError, ServiceUnavailable, Unavailable

CONNECT_TIMEOUT_S = 10.0
CALLS_IN_VAIN = 10  # in a row, each to its last attempt: then the endpoint is away
_CEILINGS_EVERY_S = 60.0
_LEARNING_RATE = 0.05


class Channel:
    """Shared by all runs of a process that ask this model. Belongs to an event loop."""

    def __init__(
        self, http: httpx.AsyncBaseTransport, endpoint: Endpoint, limiter: Limiter
    ) -> None:
        self.endpoint, self.limiter = endpoint, limiter
        self._http = http
        self._urls: dict[str, httpx.URL] = {}
        self._headers = httpx.Headers({"Content-Type": "application/json"})
        if endpoint.api_key:
            self._headers["Authorization"] = f"Bearer {endpoint.api_key}"
        timeout = httpx.Timeout(endpoint.timeout_s, connect=CONNECT_TIMEOUT_S)
        self._extensions: dict[str, Any] = {"timeout": timeout.as_dict()}
        self._dialect = Dialect()
        self._tokens_per_estimate = 1.0
        self._in_vain = 0
        self._ceilings: tuple[str | None, ...] = ()
        self._ceilings_until = 0.0

    def prompt_tokens(self, call: Call) -> int:
        """Return an estimate that has learnt from the model's own counts."""
        return math.ceil(call.prompt_tokens * self._tokens_per_estimate)

    def learn(self, call: Call, reading: Reading) -> None:
        """Take over what an answer says about the endpoint and its tokenizer."""
        self._in_vain = 0
        if reading.prompt_tokens and call.prompt_tokens:
            found = max(1.0, reading.prompt_tokens / call.prompt_tokens)
            self._tokens_per_estimate += _LEARNING_RATE * (found - self._tokens_per_estimate)

    def in_vain(self, reason: str, attempts: int) -> RowError | EndpointUnreachable:
        """Return what follows from a call that got no answer to its last attempt."""
        self._in_vain += 1
        if self._in_vain >= CALLS_IN_VAIN:
            return EndpointUnreachable(f"{self.endpoint.name}: {reason}")
        return Unavailable(reason, attempts)

    async def post(self, call: Call) -> httpx.Response:
        """Send once and return the reply to a success.

        Raises:
            WorkerError: As `check` says, or ServiceUnavailable where there was no reply.
        """
        while True:
            sent = self._dialect.adapt(call.body) if self._dialect.refused else call.body
            try:
                return await self._send(call, sent)
            except UnsupportedParameter as error:
                self._dialect.learn(error, sent, call.model)

    async def _send(self, call: Call, body: Mapping[str, Any]) -> httpx.Response:
        request = httpx.Request(
            "POST",
            self._url(call.path),
            headers=self._headers,
            content=call.content if body is call.body else orjson.dumps(body),
            extensions=self._extensions,
        )
        try:
            response = await self._http.handle_async_request(request)
            await response.aread()
        except (httpx.RequestError, aiohttp.ClientError, OSError) as error:  # not all are renamed
            reason = str(error) or type(error).__name__
            raise ServiceUnavailable(f"no answer from the endpoint: {reason}") from error
        self._read_ceilings(response.headers)
        check(response, self.endpoint.api_key)
        return response

    def _url(self, path: str) -> httpx.URL:
        if path not in self._urls:
            self._urls[path] = httpx.URL(self.endpoint.base_url.rstrip("/") + path)
        return self._urls[path]

    def _read_ceilings(self, headers: httpx.Headers) -> None:
        """Tell the limiter what the server says of its limits: when it is news, and now and then.

        Servers name them a minute.
        """
        kinds = ("requests", "tokens")
        found = tuple(headers.get(f"x-ratelimit-limit-{kind}") for kind in kinds)
        now = time.monotonic()
        if found == self._ceilings and now < self._ceilings_until:
            return
        self._ceilings, self._ceilings_until = found, now + _CEILINGS_EVERY_S
        named = zip(kinds, found, strict=True)
        self.limiter.lower({k: int(v) / 60 for k, v in named if v and v.isdecimal() and int(v)})
