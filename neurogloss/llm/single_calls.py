"""One call after another, for what is asked before a run: no limits, no ledger, no event loop."""

import time
from collections.abc import Mapping
from typing import Any, Self

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from neurogloss.errors import (
    EndpointUnreachable,
    RateLimited,
    Refused,
    ServiceUnavailable,
    TransientError,
    Truncated,
    Unavailable,
)
from neurogloss.llm.calls import Answer, Call
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.parameter_support import ParameterSupport
from neurogloss.llm.responses import Completion, UnsupportedParameter, check, read_completion
from neurogloss.neurons.simulators.base import SimulatorRequest

ATTEMPTS = 4
TIMEOUT_S = 60.0
_LONGEST_WAIT_S = 20.0


class SingleCalls:
    """Asks one model, and keeps what it answered."""

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self._endpoint, self._model = endpoint, model
        self._dialect = ParameterSupport()
        self._http = httpx.Client(
            base_url=endpoint.base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {},
            timeout=httpx.Timeout(min(TIMEOUT_S, endpoint.timeout_s), connect=10.0),
        )
        self._replied = False
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def refused(self) -> tuple[str, ...]:
        """Return the parameters that the model does not take."""
        return tuple(sorted(self._dialect.refused))

    def ask(self, question: SimulatorRequest) -> Answer:
        """Return a whole answer.

        Raises:
            RowError: There is none to this question.
            RunError: There is none to any.
        """
        body = {"model": self._model, **question.body}
        call = Call(purpose="probe", model=self._model, body=body, path=question.path)
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=_wait,
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        started = time.monotonic()
        try:
            reading, request_id = retrying(self._send, call)
        except TransientError as error:
            if self._replied:  # some servers say 500 to what they cannot do
                raise Unavailable(str(error), ATTEMPTS) from error
            raise EndpointUnreachable(f"{self._endpoint.name}: {error}") from error
        attempts = retrying.statistics["attempt_number"]
        answer = self._answer(call, reading, request_id, attempts, time.monotonic() - started)
        self.answers.append(answer)
        if answer.refusal or answer.finish_reason == "content_filter":
            raise Refused(answer.refusal or "stopped by a content filter")
        if answer.finish_reason == "length":
            raise Truncated(f"cut off after {answer.completion_tokens} tokens")
        return answer

    def _send(self, call: Call) -> tuple[Completion, str | None]:
        while True:
            body = self._dialect.adapt(call.body)
            try:
                response = self._post(call.path, body)
            except UnsupportedParameter as error:
                self._dialect.learn(error, body, call.model)
                continue
            return read_completion(response.content, body), response.headers.get("x-request-id")

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        try:
            response = self._http.post(path.lstrip("/"), json=body)
        except httpx.RequestError as error:
            reason = str(error) or type(error).__name__
            raise ServiceUnavailable(f"no answer from the endpoint: {reason}") from error
        self._replied = True
        check(response, self._endpoint.api_key)
        return response

    def _answer(
        self, call: Call, reading: Completion, request_id: str | None, attempts: int, seconds: float
    ) -> Answer:
        return reading.answer(
            identity=call.identity(self._endpoint.base_url),
            purpose=call.purpose,
            endpoint=self._endpoint,
            model=call.model,
            attempts=attempts,
            latency_ms=round(1000 * seconds),
            request_id=request_id,
        )


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, RateLimited):
        return min(_LONGEST_WAIT_S, error.retry_after)
    return wait_random_exponential(multiplier=0.5, max=4.0)(state)
