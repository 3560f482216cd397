"""The calls and tokens of each stage, counted on the prompts of a few neurons."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from orchestrator.estimating.sample import Sample, SampleNeuron
from orchestrator.estimating.token_counts import TokenCounter
from worker.api.calls import Call
from worker.endpoint_config import EndpointConfig
from worker.neurons.classification import Example, classification_body
from worker.neurons.lookup import TOP_TOKENS
from worker.neurons.prompts import explanation_body, visible
from worker.neurons.simulators.asking import Question, Simulator
from worker.neurons.simulators.kinds import SimulatorChoice, simulator_of
from worker.neurons.token_space import token_space_body
from worker.run_config import RunConfig

BATCH_DISCOUNT = 0.5
CACHE_LEAST, CACHE_STEP = 1024, 128  # tokens of a prefix that providers keep
EXPLANATION_TOKENS = 25  # of an explanation of one sentence
ROLES = {  # who is asked in a stage
    "explain": "explainer",
    "choose": "simulator",
    "simulate": "simulator",
    "score": "scorer",
}
TOKENS_PER_POSITION = 4  # of a JSON answer: the key, the marks around it, the number
SECONDS_TO_FIRST_TOKEN = 0.6
SECONDS_PER_TOKEN = 0.015


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """Calls and tokens of a stage. USD is None where no price is configured.

    `cached_tokens` are those of the prompt tokens that providers may keep. `seconds` are those that
    each bound would make the stage last.
    """

    stage: str
    kind: str
    records_per_call: int
    endpoint: str
    model: str
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    usd: float | None
    usd_with_cache: float | None
    usd_in_batches: float | None
    seconds: dict[str, float]

    @property
    def bound_by(self) -> str | None:
        """Return the bound that decides how long the stage takes."""
        return max(self.seconds, key=self.seconds.__getitem__, default=None)


@dataclass(frozen=True, slots=True)
class Counting:
    """Estimates stages by the mean of what they ask of the neurons of a sample.

    Held-back records are taken to be as the scored ones are.
    """

    config: RunConfig
    n_neurons: int
    sample: Sample
    counter: TokenCounter
    latency_s: float | None

    def explain(self) -> StageEstimate:
        """Estimate the explanations, or the drafts of them."""
        part = self.config.explainer
        calls = [
            Call("explain", part.model, {"model": part.model, **self._explanation_body(neuron)})
            for neuron in self.sample.neurons
            for _ in range(part.candidates)
        ]
        return self._stage("explain", part.kind, 1, calls, EXPLANATION_TOKENS)

    def _explanation_body(self, neuron: SampleNeuron) -> dict[str, Any]:
        if self.config.explainer.kind == "llm":
            return explanation_body(neuron.shown)
        tokens = [token for record in neuron.shown for token in record.tokens]
        return token_space_body(list(dict.fromkeys(tokens))[:TOP_TOKENS])

    def choose(self, choice: SimulatorChoice, records_per_call: int) -> StageEstimate:
        """Estimate the simulations that drafts are judged by."""
        return self._simulate("choose", choice, records_per_call, self.config.explainer.candidates)

    def simulate(self, choice: SimulatorChoice, records_per_call: int) -> StageEstimate:
        """Estimate the simulations of the scored records, and of those for calibration.

        The latter are not paid for twice where the explanation was chosen by them.
        """
        scoring, explainer = self.config.scoring, self.config.explainer
        is_asked_before = explainer.has_candidates
        times = 2 if scoring.calibration and not is_asked_before else 1
        return self._simulate("simulate", choice, records_per_call, times)

    def _simulate(
        self, stage: str, choice: SimulatorChoice, records_per_call: int, times: int
    ) -> StageEstimate:
        """Estimate a stage that simulates as many records as are scored, so many times."""
        simulator = simulator_of(choice, records_per_call)
        model = self.config.simulator.model
        calls = [
            Call(stage, model, {"model": model, **question.body}, question.path)
            for neuron in self.sample.neurons
            for _ in range(times)
            for question in _questions(neuron, simulator)
        ]
        completion = 1
        if choice.kind in ("json", "chat_logprobs"):
            n_tokens = times * sum(len(record) for n in self.sample.neurons for record in n.scored)
            completion = math.ceil(TOKENS_PER_POSITION * n_tokens / len(calls)) + 2
        return self._stage(stage, choice.kind, records_per_call, calls, completion)

    def classify(self) -> StageEstimate:
        """Estimate the scorers of `scoring.also`, as if they asked about the simulated records."""
        part, also = self.config.scorer, self.config.scoring.also
        calls = []
        for scorer in also:
            for neuron in self.sample.neurons:
                texts = ["".join(map(visible, record)) for record in neuron.scored]
                examples = [Example(text, True) for text in texts]
                body = classification_body(scorer, neuron.explanation, examples, part.top_logprobs)
                calls.append(Call("score", part.model, {"model": part.model, **body}))
        n_examples = len(self.sample.neurons[0].scored)
        return self._stage("score", "+".join(also), 1, calls, TOKENS_PER_POSITION * n_examples + 2)

    def _stage(
        self, stage: str, kind: str, per_call: int, calls: Sequence[Call], completion_tokens: int
    ) -> StageEstimate:
        part: Any = getattr(self.config, ROLES[stage])
        endpoint = self.config.endpoints[part.endpoint]
        scale = self.n_neurons / len(self.sample.neurons)
        n_calls = round(scale * len(calls))
        prompt = round(scale * sum(self.counter.of_call(call) for call in calls))
        cached = round(scale * _cached_tokens(calls, self.counter))
        completion = n_calls * completion_tokens
        seconds = SECONDS_TO_FIRST_TOKEN + SECONDS_PER_TOKEN * completion_tokens
        usd = _usd(endpoint, part.model, prompt, 0, completion)
        return StageEstimate(
            stage=stage,
            kind=kind,
            records_per_call=per_call,
            endpoint=part.endpoint,
            model=part.model,
            calls=n_calls,
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=completion,
            usd=usd,
            usd_with_cache=_usd(endpoint, part.model, prompt, cached, completion),
            usd_in_batches=None if usd is None else BATCH_DISCOUNT * usd,
            seconds=_seconds(endpoint, n_calls, prompt + completion, self.latency_s or seconds),
        )


def _questions(neuron: SampleNeuron, simulator: Simulator) -> Iterator[Question]:
    at_once = simulator.records_at_once
    for place in range(0, len(neuron.scored), at_once):
        yield from simulator.ask(neuron.explanation, neuron.scored[place : place + at_once])


def _cached_tokens(calls: Sequence[Call], counter: TokenCounter) -> int:
    """Return how many prompt tokens begin as the call before did, as far as providers keep them."""
    shared = (_shared_tokens(*pair, counter) for pair in pairwise(calls))
    return sum(n // CACHE_STEP * CACHE_STEP for n in shared if n >= CACHE_LEAST)


def _shared_tokens(before: Call, call: Call, counter: TokenCounter) -> int:
    shared = 0
    for (one, _), (other, tokens) in zip(counter.parts(before), counter.parts(call), strict=True):
        if one != other:
            return shared + counter.count(_common_start(one, other))
        shared += tokens
    return shared


def _common_start(one: str, other: str) -> str:
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return one[: min(len(one), len(other)) if length is None else length]


def _usd(
    endpoint: EndpointConfig, model: str, prompt: int, cached: int, completion: int
) -> float | None:
    price = endpoint.prices.get(model)
    if price is None:
        return None
    cached_price = price.input if price.cached_input is None else price.cached_input
    paid = (prompt - cached) * price.input + cached * cached_price + completion * price.output
    return paid / 1e6


def _seconds(
    endpoint: EndpointConfig, calls: int, tokens: int, latency_s: float
) -> dict[str, float]:
    found = {"max_in_flight": calls * latency_s / endpoint.max_in_flight}
    if endpoint.requests_per_minute:
        found["requests_per_minute"] = 60 * calls / endpoint.requests_per_minute
    if endpoint.tokens_per_minute:
        found["tokens_per_minute"] = 60 * tokens / endpoint.tokens_per_minute
    return found
