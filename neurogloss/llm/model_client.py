"""One model of an endpoint: sending a request, and keeping what its replies tell of the model."""

import math
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import httpx
import orjson

from neurogloss.errors import (
    ContextExceeded,
    EndpointUnreachable,
    RateLimited,
    RequestRejected,
    RowError,
    ServiceUnavailable,
    Unavailable,
)
from neurogloss.llm.bounded_http import ACCEPTED, CONNECT_TIMEOUT_S, whole, within
from neurogloss.llm.calls import Call
from neurogloss.llm.context_length import LengthJudge
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.failure_log import FailureLog
from neurogloss.llm.limiter import Limiter
from neurogloss.llm.outage import Outage, Tell, tell_nobody
from neurogloss.llm.parameter_support import ParameterSupport
from neurogloss.llm.responses import Completion, UnsupportedParameter, raise_for_error
from neurogloss.llm.server_text import server_text

UNANSWERED_CALLS = 10  # in a row, each after its last attempt: then the endpoint is unreachable
_CEILINGS_EVERY_S = 5.0  # between two looks at headers that name limits
_LIMIT_DIGITS = 12  # of a limit in a header; a longer one is no limit
_LEARNING_RATE = 0.05  # of the token estimate: it follows some twenty calls
BELIEVED = 16
"""How many times as many tokens as were estimated a server may report.

The excess is charged to the limiter; an absurd number would hold calls up for hours.
"""


class ModelClient:
    """Shared by all runs of a process that call this model. Belongs to an event loop."""

    def __init__(
        self,
        http: httpx.AsyncBaseTransport,
        endpoint: Endpoint,
        limiter: Limiter,
        tell: Tell = tell_nobody,
    ) -> None:
        self.endpoint, self.limiter = endpoint, limiter
        self._http = http
        self._urls: dict[str, httpx.URL] = {}
        self._headers = httpx.Headers(ACCEPTED | {"Content-Type": "application/json"})
        if endpoint.api_key:
            self._headers["Authorization"] = f"Bearer {endpoint.api_key}"
        # Only to connect: `within` ends the rest, and a timer for each read would do it again.
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
        self._extensions: dict[str, Any] = {"timeout": timeout.as_dict()}
        self._support = ParameterSupport()
        self._tokens_per_estimate = 1.0
        self._unanswered = 0
        self._outage = Outage(endpoint.name, endpoint.wait_s, tell)
        self._failures = FailureLog(endpoint.name)
        self._lengths = LengthJudge(endpoint.name)
        self._ceilings_until = 0.0

    def estimate_prompt_tokens(self, call: Call) -> int:
        """Return the tokens of a prompt, by the ratio of earlier estimates to the model's usage."""
        return math.ceil(call.prompt_tokens * self._tokens_per_estimate)

    def record_usage(self, call: Call, completion: Completion) -> None:
        """Note that the endpoint has answered, and how many tokens the prompt really had."""
        self._unanswered = 0
        self._outage.end()
        self._lengths.answered(call.purpose)
        if completion.prompt_tokens and call.prompt_tokens:
            # Never below 1: an estimate that is too low runs into the limits of the server.
            ratio = min(BELIEVED, max(1.0, completion.prompt_tokens / call.prompt_tokens))
            self._tokens_per_estimate += _LEARNING_RATE * (ratio - self._tokens_per_estimate)

    def record_no_answer(self, reason: str, attempts: int) -> RowError | EndpointUnreachable:
        """Note that a call got no answer at its last attempt, and return the error to raise."""
        self._unanswered += 1
        if self._unanswered >= UNANSWERED_CALLS:
            return EndpointUnreachable(f"{self.endpoint.name}: {reason}")
        return Unavailable(f"{reason}, at the last of {attempts} attempts", attempts)

    def note_failure(self, model: str, error: Exception) -> None:
        """Note an attempt without an answer, so that logs show it while it is made again."""
        self._failures.note(model, error)

    def seconds_to_wait(self, error: RateLimited | ServiceUnavailable) -> float | None:
        """Return for how long to send nothing; None where the call alone has failed.

        Raises:
            EndpointUnreachable: The endpoint has been away for longer than it is waited for.
        """
        if isinstance(error, RateLimited):
            return error.retry_after
        return self._outage.wait_for(error)

    async def post(self, call: Call) -> tuple[httpx.Response, Mapping[str, Any]]:
        """Send a call; return the response, which is a success, and the body that was sent.

        Parameters that the model turns out not to support are left out, if the call can do without.

        Raises:
            NeuroglossError: As `raise_for_error` says, or ServiceUnavailable without a response.
        """
        trial = self._support.trial(call.model)
        while True:
            body = trial.body(call.body)
            try:
                response = await self._send(call, body)
            except ContextExceeded as error:
                if run_error := self._lengths.too_long(call.purpose, call.model, error):
                    raise run_error from error
                raise
            except (UnsupportedParameter, RequestRejected) as error:
                trial.refused(error, body)
            else:
                trial.accepted(body)
                return response, body

    async def _send(self, call: Call, body: Mapping[str, Any]) -> httpx.Response:
        request = httpx.Request(
            "POST",
            self._url(call.path),
            headers=self._headers,
            content=call.content if body is call.body else orjson.dumps(body),
            extensions=self._extensions,
        )
        try:
            async with within(self.endpoint.timeout_s):
                response = await whole(await self._http.handle_async_request(request))
        # The transport turns most errors of aiohttp and of sockets into httpx's, but not all.
        except (httpx.RequestError, aiohttp.ClientError, OSError) as error:
            reason = server_text(str(error) or type(error).__name__, self.endpoint.api_key)
            raise ServiceUnavailable(f"no answer from the endpoint: {reason}") from error
        self._read_ceilings(response.headers)
        raise_for_error(response, self.endpoint.api_key)
        return response

    def _url(self, path: str) -> httpx.URL:
        if path not in self._urls:
            self._urls[path] = httpx.URL(self.endpoint.base_url.rstrip("/") + path)
        return self._urls[path]

    def _read_ceilings(self, headers: httpx.Headers) -> None:
        """Tell the limiter, every few seconds, the limits per minute that the server names."""
        now = time.monotonic()
        if now < self._ceilings_until:
            return
        self._ceilings_until = now + _CEILINGS_EVERY_S
        limits = {k: headers.get(f"x-ratelimit-limit-{k}", "") for k in ("requests", "tokens")}
        self.limiter.lower({k: int(v) / 60 for k, v in limits.items() if _is_limit(v)})


def _is_limit(header: str) -> bool:
    """Return whether a header holds a limit: a number above 0 of a length that numbers have."""
    return header.isdecimal() and len(header) <= _LIMIT_DIGITS and int(header) > 0
