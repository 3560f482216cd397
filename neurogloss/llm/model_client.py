"""One model of an endpoint: sending a request, and what is learnt from its replies."""

import math
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import httpx
import orjson

from neurogloss.errors import EndpointUnreachable, RowError, ServiceUnavailable, Unavailable
from neurogloss.llm.calls import Call
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.limiter import Limiter
from neurogloss.llm.parameter_support import ParameterSupport
from neurogloss.llm.responses import Completion, UnsupportedParameter, check

CONNECT_TIMEOUT_S = 10.0
CALLS_IN_VAIN = 10  # in a row, each to its last attempt: then the endpoint is away
_CEILINGS_EVERY_S = 5.0
_LEARNING_RATE = 0.05


class ModelClient:
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
        self._dialect = ParameterSupport()
        self._tokens_per_estimate = 1.0
        self._in_vain = 0
        self._ceilings_until = 0.0

    def prompt_tokens(self, call: Call) -> int:
        """Return an estimate that has learnt from the model's own counts."""
        return math.ceil(call.prompt_tokens * self._tokens_per_estimate)

    def learn(self, call: Call, reading: Completion) -> None:
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

    async def post(self, call: Call) -> tuple[httpx.Response, Mapping[str, Any]]:
        """Send once; return the reply to a success, and the body that was sent.

        Parameters that the model turns out not to take are left out, as far as they may be.

        Raises:
            WorkerError: As `check` says, or ServiceUnavailable where there was no reply.
        """
        while True:
            body = self._dialect.adapt(call.body) if self._dialect.refused else call.body
            try:
                return await self._send(call, body), body
            except UnsupportedParameter as error:
                self._dialect.learn(error, body, call.model)

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
        """Tell the limiter now and then what the server says of its limits, which is a minute."""
        now = time.monotonic()
        if now < self._ceilings_until:
            return
        self._ceilings_until = now + _CEILINGS_EVERY_S
        named = {k: headers.get(f"x-ratelimit-limit-{k}", "") for k in ("requests", "tokens")}
        self.limiter.lower({k: int(v) / 60 for k, v in named.items() if v.isdecimal() and int(v)})
