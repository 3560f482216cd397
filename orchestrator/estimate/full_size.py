"""Calls of the size that a run makes, one of each stage, to measure its endpoints by.

A probe asks a few tokens. A run asks thousands, which takes a server on a CPU minutes, and may not
fit into its context.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from neurogloss.config.language_models import ExplainerConfig, SimulatorConfig
from neurogloss.config.run import RunConfig
from neurogloss.config.scoring import ScorerConfig
from neurogloss.errors import RowError, RunError
from neurogloss.llm.calls import Call
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.single_calls import SingleCalls
from neurogloss.neurons.classification import LabelledExample, classification_body
from neurogloss.neurons.lookup import TOP_TOKENS
from neurogloss.neurons.prompts import explanation_body, prefilled, visible, with_room
from neurogloss.neurons.simulators.base import CHAT, SimulatorRequest
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from neurogloss.neurons.token_space import token_space_body
from orchestrator.estimate.sample import SampleNeuron

LONGEST_S = 600.0  # that a full-size call is waited for
SLOW_S = 5.0  # a call that takes longer, alone, comes from a server that calls have to queue at
MARGIN = 2.0  # of `timeout_s` over the time that a call takes

Part = ExplainerConfig | SimulatorConfig | ScorerConfig


@dataclass(frozen=True, slots=True)
class FullSizeCall:
    """The measurements of a call of one stage.

    Attributes:
        stage: For which a run makes such calls.
        answer_limit: The tokens that its answer may have.
        seconds: From the request to the whole answer.
        problem: Why it brought no answer; None if it did.
    """

    stage: str
    endpoint: str
    model: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    answer_limit: int
    seconds: float
    problem: str | None = None

    @property
    def tokens_per_second(self) -> float:
        """Tokens that the server read and wrote in a second; what it had cached is left out."""
        read = self.prompt_tokens - self.cached_tokens
        return (read + self.completion_tokens) / max(self.seconds, 1e-3)

    @property
    def context(self) -> int:
        """The tokens that the context of the model has to hold."""
        return self.prompt_tokens + self.answer_limit


def measure(
    config: RunConfig,
    neuron: SampleNeuron,
    choice: SimulatorChoice | None,
    tell: Callable[[str], None],
    env: Mapping[str, str] = os.environ,
) -> list[FullSizeCall]:
    """Make a call of each stage about one neuron, and return what they took.

    Args:
        config: Of the run.
        neuron: What the calls are about.
        choice: The simulator; None measures none.
        tell: Called before each call with what is asked now.
        env: For the keys of endpoints.
    """
    made = []
    for stage, part, request in _requests(config, neuron, choice):
        here = Endpoint.from_config(part.endpoint, config.endpoints[part.endpoint], env)
        call = Call(stage, part.model, with_room(request.body, part.max_tokens), request.path)
        tell(f"{stage}: a full-size prompt of some {call.prompt_tokens:,} tokens to {part.model}")
        made.append(_made(call, here))
    return made


def _requests(
    config: RunConfig, neuron: SampleNeuron, choice: SimulatorChoice | None
) -> Iterator[tuple[str, Part, SimulatorRequest]]:
    if config.explainer.kind == "llm":
        body = explanation_body(neuron.shown)
        body = prefilled(body) if config.explainer.prefill else body
        yield "explain", config.explainer, SimulatorRequest(CHAT, body)
    elif config.explainer.kind == "token_space":
        tokens = list(dict.fromkeys(t for record in neuron.shown for t in record.tokens))
        body = token_space_body(tokens[:TOP_TOKENS])
        yield "explain", config.explainer, SimulatorRequest(CHAT, body)
    if choice is not None:
        part = config.simulator
        simulator = simulator_of(choice, part.records_per_call, part.answer_form)
        records = neuron.scored[: simulator.records_at_once]
        # Where a call is made for each token, the last prompt is the longest.
        *_, longest = simulator.ask(neuron.explanation, records)
        yield "simulate", config.simulator, longest
    for scorer in config.scoring.also:
        texts = ["".join(map(visible, record)) for record in neuron.scored]
        examples = [LabelledExample(text, True) for text in texts]
        top = config.scorer.top_logprobs
        body = classification_body(scorer, neuron.explanation, examples, top)
        yield f"score ({scorer})", config.scorer, SimulatorRequest(CHAT, body)


def _made(call: Call, endpoint: Endpoint) -> FullSizeCall:
    patient = replace(endpoint, timeout_s=max(LONGEST_S, endpoint.timeout_s))
    asked = FullSizeCall(
        call.purpose, endpoint.name, call.model, 0, 0, 0, call.max_completion_tokens, 0.0
    )
    with SingleCalls(patient, call.model, "probe") as calls:
        problem = None
        try:
            calls.ask(call.body, call.path)
        except (RowError, RunError) as error:
            problem = str(error)
        if not calls.answers:
            return replace(asked, problem=problem)
        answer = calls.answers[-1]
    # An answer that is cut off or of no use took its time all the same.
    return replace(
        asked,
        prompt_tokens=answer.prompt_tokens,
        cached_tokens=answer.cached_tokens,
        completion_tokens=answer.completion_tokens,
        seconds=answer.latency_ms / 1000,
        problem=problem,
    )


def advice(config: RunConfig, calls: list[FullSizeCall]) -> list[str]:
    """Return what the measured calls mean for the limits of each endpoint, a sentence each."""
    found: list[str] = []
    for name in dict.fromkeys(call.endpoint for call in calls):
        answered = [call for call in calls if call.endpoint == name and call.prompt_tokens]
        if answered:
            found += _about_context(name, answered)
            found += _about_time(config, name, max(call.seconds for call in answered))
    return found


def _about_context(name: str, calls: list[FullSizeCall]) -> Iterator[str]:
    largest = max(calls, key=lambda call: call.context)
    yield (
        f"{name}: the context has to hold {largest.context:,} tokens for each call "
        f"({largest.stage}: {largest.prompt_tokens:,} of the prompt, {largest.answer_limit:,} for "
        "the answer); servers that share a context among calls need that much for each in flight"
    )


def _about_time(config: RunConfig, name: str, seconds: float) -> Iterator[str]:
    limits = config.endpoints[name]
    at_once = math.floor(limits.timeout_s / (MARGIN * seconds)) if seconds else limits.max_in_flight
    if at_once < 1:
        wanted = 60 * math.ceil(MARGIN * seconds / 60)
        yield (
            f"{name}: timeout_s = {limits.timeout_s:g} is too short for a call that took "
            f"{seconds:.0f} s alone: set timeout_s = {wanted} and max_in_flight = 1, or "
            "timeout_s to so much for each call in flight"
        )
    elif seconds > SLOW_S and at_once < limits.max_in_flight:
        wanted = 60 * math.ceil(MARGIN * seconds * limits.max_in_flight / 60)
        yield (
            f"{name}: a call took {seconds:.0f} s alone; {limits.max_in_flight} at once take up to "
            f"{seconds * limits.max_in_flight:,.0f} s each if the server does one after another, "
            f"and timeout_s is {limits.timeout_s:g}: set max_in_flight = {at_once}, or "
            f"timeout_s = {wanted}"
        )
    else:
        yield (
            f"{name}: the slowest call took {seconds:.1f} s; timeout_s = {limits.timeout_s:g} and "
            f"max_in_flight = {limits.max_in_flight} leave room"
        )
