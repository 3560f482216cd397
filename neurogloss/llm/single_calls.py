"""One call after another, with retries: for a probe, a script or a notebook.

No limits, no ledger, no event loop. `neurogloss.llm.call_engine` is for many calls at once.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from neurogloss.errors import (
    EndpointUnreachable,
    Malformed,
    RateLimited,
    RequestRejected,
    RowError,
    TransientError,
    Unavailable,
)
from neurogloss.llm.bounded_http import BlockingHttp
from neurogloss.llm.calls import Answer, Call
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.outage import Outage, is_dropped, is_unknown_host
from neurogloss.llm.parameter_support import ParameterSupport
from neurogloss.llm.responses import (
    Completion,
    UnsupportedParameter,
    raise_for_error,
    read_completion,
)
from neurogloss.llm.server_text import request_id
from neurogloss.llm.transports import proxy_of
from neurogloss.neurons.prompts import with_room
from neurogloss.neurons.simulation import Simulation
from neurogloss.neurons.simulators.base import CHAT, ModelReply, Simulator

ATTEMPTS = 4  # fewer than a run makes: somebody waits for the outcome
# A proxy whose server restarts takes connections and drops them; that is over in some seconds.
_FIRST_RESPONSE_S = 20.0


class SingleCalls:
    """Calls one model. `answers` are all that it gave, in their order.

    All methods that call raise RowError where there is no answer to this call, and RunError where
    there would be none to any.

    Args:
        endpoint: Its limits are not kept: calls follow each other.
        model: Its name at the endpoint.
        purpose: What the answers are for, as it is stored with them.
        max_tokens: As in `prompts.with_room`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        purpose: str = "single",
        max_tokens: int | None = None,
    ) -> None:
        self._endpoint, self._model, self._purpose = endpoint, model, purpose
        self._max_tokens = max_tokens
        self._support = ParameterSupport()
        proxy_of(endpoint.base_url)  # one that workers cannot use is refused here
        self._http = BlockingHttp(endpoint.base_url, endpoint.api_key)
        self._has_responded = False
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def refused(self) -> tuple[str, ...]:
        """Return the parameters that the model does not support, as far as calls had them."""
        return tuple(sorted(self._support.refused))

    def simulate(self, simulator: Simulator, explanation: str, tokens: Sequence[str]) -> Simulation:
        """Return what a neuron would do on the tokens of one text, if its explanation were true.

        Raises:
            RowError: There is no answer, or it is Malformed.
        """
        answers = [self.ask(r.body, r.path) for r in simulator.ask(explanation, [tokens])]
        replies = [ModelReply(answer.text, answer.distributions) for answer in answers]
        (simulation,) = simulator.read(explanation, [tokens], replies)
        if isinstance(simulation, Malformed):
            raise simulation
        return simulation

    def ask(self, body: Mapping[str, Any], path: str = CHAT) -> Answer:
        """Return a complete answer to a request.

        Args:
            body: Of the request, without the model.
            path: Under the endpoint's address.
        """
        body = {"model": self._model, **with_room(body, self._max_tokens)}
        call = Call(self._purpose, self._model, body, path)
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=wait_random_exponential(multiplier=0.5, max=4.0),
            stop=self._is_enough,
            reraise=True,
        )
        started = time.monotonic()
        try:
            completion, named = retrying(self._send_when_there, call)
        except TransientError as error:
            # Some servers answer 500 to what they cannot do: then the endpoint is there.
            if self._has_responded:
                raise Unavailable(str(error), ATTEMPTS) from error
            raise EndpointUnreachable(f"{self._endpoint.name}: {error}") from error
        answer = completion.answer(
            identity=call.identity(self._endpoint.base_url),
            purpose=call.purpose,
            endpoint=self._endpoint,
            model=call.model,
            attempts=retrying.statistics["attempt_number"],
            latency_ms=round(1000 * (time.monotonic() - started)),
            request_id=named,
        )
        self.answers.append(answer)
        outcome = answer.outcome()
        if isinstance(outcome, RowError):
            raise outcome
        return outcome

    def _is_enough(self, state: RetryCallState) -> bool:
        """Return whether to give a call up: not soon, where a server drops all connections."""
        error = state.outcome.exception() if state.outcome else None
        if self._has_responded or error is None or not is_dropped(error):
            return state.attempt_number >= ATTEMPTS
        patience_s = min(_FIRST_RESPONSE_S, self._endpoint.wait_s)
        return state.attempt_number >= ATTEMPTS and (state.seconds_since_start or 0) >= patience_s

    def _send_when_there(self, call: Call) -> tuple[Completion, str | None]:
        """Send; a server that is away, or has no capacity left, is waited for."""
        outage = Outage(self._endpoint.name, self._endpoint.wait_s)
        while True:
            try:
                sent = self._send(call)
            except TransientError as error:
                seconds = None if self._is_failed(error) else outage.wait_for(error, patience=1)
                if seconds is None:
                    raise
                time.sleep(seconds)
            else:
                outage.end()
                return sent

    def _is_failed(self, error: TransientError) -> bool:
        """Return whether waiting would not help: the server is there, or nowhere."""
        is_there = bool(self.answers) and not isinstance(error, RateLimited)
        return is_there or is_unknown_host(error)

    def _send(self, call: Call) -> tuple[Completion, str | None]:
        trial = self._support.trial(call.model)
        while True:
            body = trial.body(call.body)
            try:
                response = self._post(call.path, body)
            except (UnsupportedParameter, RequestRejected) as error:
                trial.refused(error, body)
                continue
            trial.accepted(body)
            secret = self._endpoint.api_key
            completion = read_completion(response.content, body, secret).counted(call)
            return completion, request_id(response, secret)

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        seconds = self._endpoint.timeout_s  # minutes, where a model runs on a CPU
        response = self._http.send("POST", path, seconds=seconds, json=body)
        self._has_responded = True
        raise_for_error(response, self._endpoint.api_key)
        return response
