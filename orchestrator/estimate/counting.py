"""The calls and tokens of each stage, counted on the prompts of a few neurons."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from neurogloss.config.endpoint import EndpointConfig
from neurogloss.config.language_models import ExplainerConfig, SimulatorConfig
from neurogloss.config.run import RunConfig
from neurogloss.config.scoring import ScorerConfig
from neurogloss.llm.calls import Call
from neurogloss.llm.endpoint import BATCH_PRICE_FACTOR, Price
from neurogloss.neurons.classification import LabelledExample, classification_body
from neurogloss.neurons.control import n_drawn
from neurogloss.neurons.illustration import illustration_body
from neurogloss.neurons.lookup import TOP_TOKENS
from neurogloss.neurons.prompts import explanation_body, visible
from neurogloss.neurons.records import ActivationRecord
from neurogloss.neurons.revision import ObservedSentence, revision_body
from neurogloss.neurons.simulators.base import Simulator, SimulatorRequest
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of
from neurogloss.neurons.token_space import token_space_body
from orchestrator.estimate.sample import Sample, SampleNeuron
from orchestrator.estimate.token_counts import TokenCounter

# OpenAI caches prompt prefixes of at least 1024 tokens, in steps of 128.
CACHE_LEAST, CACHE_STEP = 1024, 128
SENTENCE_TOKENS = 25  # tokens of a sentence on which an explanation is tested
EXPLANATION_TOKENS = 25  # tokens of an explanation of one sentence
TOKENS_PER_POSITION = 4  # tokens of a JSON answer for each token: key, punctuation, number
# Assumed latency of a call, unless --latency-s is given: to the first token, then per token.
SECONDS_TO_FIRST_TOKEN = 0.6
SECONDS_PER_TOKEN = 0.015


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """Calls, tokens, cost and time of a stage; costs are None if no price is configured.

    `cached_tokens` is the part of `prompt_tokens` that a provider may serve from its prompt cache.
    `seconds` is the duration of the stage under each bound alone.
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
        """The bound under which the stage takes longest; None if there is no bound."""
        return max(self.seconds, key=self.seconds.__getitem__, default=None)


@dataclass(frozen=True, slots=True)
class Counting:
    """Estimates stages from the calls that they would make about the neurons of a sample.

    Held-back records are assumed to have as many tokens as the scored ones, and each answer to come
    after `reasoning_tokens` of thought.
    """

    config: RunConfig
    n_neurons: int
    sample: Sample
    counter: TokenCounter
    latency_s: float | None
    reasoning_tokens: int = 0

    def explain(self) -> StageEstimate:
        """Estimate the calls for explanations, or for drafts of them."""
        part = self.config.explainer
        calls = [
            Call("explain", part.model, {"model": part.model, **self._explanation_body(neuron)})
            for neuron in self.sample.neurons
            for _ in range(part.candidates)
        ]
        return self._stage("explain", part, part.kind, 1, calls, EXPLANATION_TOKENS)

    def _explanation_body(self, neuron: SampleNeuron) -> dict[str, Any]:
        if self.config.explainer.kind == "llm":
            return explanation_body(neuron.shown)
        tokens = [token for record in neuron.shown for token in record.tokens]
        return token_space_body(list(dict.fromkeys(tokens))[:TOP_TOKENS])

    def choose(self, choice: SimulatorChoice, records_per_call: int) -> StageEstimate:
        """Estimate the simulations by which drafts are judged."""
        drafts = self.config.explainer.candidates
        texts = [drafts * neuron.scored for neuron in self.sample.neurons]
        return self._simulate("choose", choice, records_per_call, texts)

    def illustrate(self) -> StageEstimate:
        """Estimate the calls that ask for sentences."""
        part = self.config.explainer
        n_tokens = self.config.corpus.excerpt_tokens
        calls = [
            Call("illustrate", part.model, {"model": part.model, **body})
            for body in (
                illustration_body(neuron.explanation, part.sentences, n_tokens)
                for neuron in self.sample.neurons
            )
        ]
        completion = SENTENCE_TOKENS * part.sentences
        return self._stage("illustrate", part, part.kind, 1, calls, completion)

    def revise(self, choice: SimulatorChoice, records_per_call: int) -> list[StageEstimate]:
        """Estimate the revisions, and the simulations by which drafts and revisions are judged."""
        part = self.config.explainer
        half = part.sentences // 2
        calls = []
        for neuron in self.sample.neurons:
            shown = [_silent(neuron.scored[n % len(neuron.scored)]) for n in range(half)]
            observed = [
                ObservedSentence(record, is_expected=n % 2 == 0) for n, record in enumerate(shown)
            ]
            body = revision_body(neuron.explanation, neuron.shown, observed)
            calls.append(Call("revise", part.model, {"model": part.model, **body}))
        revisions = self._stage("revise", part, part.kind, 1, calls, EXPLANATION_TOKENS)
        # With several candidates, `choose` has already simulated the draft on the records.
        n_judged = 1 if part.candidates > 1 else 2
        texts = [
            n_judged * neuron.scored + 2 * [_start(text) for text in neuron.scored * half][:half]
            for neuron in self.sample.neurons
        ]
        return [revisions, self._simulate("revise", choice, records_per_call, texts)]

    def simulate(self, choice: SimulatorChoice, records_per_call: int) -> StageEstimate:
        """Estimate the simulations of the scored records and of the calibration records.

        If candidates were judged on the calibration records, the ledger has these calls already.
        """
        is_in_ledger = self.config.explainer.has_candidates
        times = 2 if self.config.scoring.calibration and not is_in_ledger else 1
        texts = [times * neuron.scored for neuron in self.sample.neurons]
        return self._simulate("simulate", choice, records_per_call, texts)

    def control(self, choice: SimulatorChoice, records_per_call: int) -> StageEstimate:
        """Estimate the simulations of some neurons from the explanations of others."""
        n_controlled = n_drawn(self.n_neurons, self.config.scoring.control)
        texts = [neuron.scored for neuron in self.sample.neurons]
        controlled = replace(self, n_neurons=n_controlled)
        return controlled._simulate("control", choice, records_per_call, texts)

    def _simulate(
        self,
        stage: str,
        choice: SimulatorChoice,
        records_per_call: int,
        texts: Sequence[Sequence[list[str]]],
    ) -> StageEstimate:
        """Estimate simulations; `texts` has the token lists to simulate of each sample neuron."""
        part = self.config.simulator
        form = part.answer_form if records_per_call == 1 else "positions"
        simulator = simulator_of(choice, records_per_call, form)
        calls = [
            Call(stage, part.model, {"model": part.model, **request.body}, request.path)
            for neuron, of_neuron in zip(self.sample.neurons, texts, strict=True)
            for request in _requests(neuron.explanation, of_neuron, simulator)
        ]
        # Simulators that read log probabilities of the prompt, or of one token, generate one token.
        completion = 1
        if choice.kind in ("json", "chat_logprobs"):
            n_tokens = sum(len(text) for of_neuron in texts for text in of_neuron)
            completion = math.ceil(TOKENS_PER_POSITION * n_tokens / len(calls)) + 2
        return self._stage(stage, part, choice.kind, records_per_call, calls, completion)

    def classify(self) -> StageEstimate:
        """Estimate the scorers of `scoring.also`, as if they classified the simulated records."""
        part, also = self.config.scorer, self.config.scoring.also
        calls = []
        for scorer in also:
            for neuron in self.sample.neurons:
                texts = ["".join(map(visible, record)) for record in neuron.scored]
                examples = [LabelledExample(text, True) for text in texts]
                body = classification_body(scorer, neuron.explanation, examples, part.top_logprobs)
                calls.append(Call("score", part.model, {"model": part.model, **body}))
        n_examples = len(self.sample.neurons[0].scored)
        completion = TOKENS_PER_POSITION * n_examples + 2
        return self._stage("score", part, "+".join(also), 1, calls, completion)

    def _stage(
        self,
        stage: str,
        part: ExplainerConfig | SimulatorConfig | ScorerConfig,
        kind: str,
        per_call: int,
        calls: Sequence[Call],
        completion_tokens: int,
    ) -> StageEstimate:
        scale = self.n_neurons / len(self.sample.neurons)
        n_calls = round(scale * len(calls))
        counts = (
            n_calls,
            round(scale * sum(self.counter.of_call(call) for call in calls)),
            round(scale * _cached_tokens(calls, self.counter)),
            n_calls * (completion_tokens + self.reasoning_tokens),
        )
        endpoint = self.config.endpoints[part.endpoint]
        asked = (stage, kind, per_call, part.endpoint, part.model)
        empty = StageEstimate(*asked, 0, 0, 0, 0, None, None, None, {})
        return recounted(empty, endpoint, *counts, latency_s=self.latency_s)


def recounted(
    stage: StageEstimate,
    endpoint: EndpointConfig,
    calls: int,
    prompt: int,
    cached: int,
    completion: int,
    *,
    latency_s: float | None,
) -> StageEstimate:
    """Return a stage with these counts, and the cost and time that follow from them."""
    usd = _usd(endpoint, stage.model, prompt, 0, completion)
    answer_s = SECONDS_TO_FIRST_TOKEN + SECONDS_PER_TOKEN * completion / max(1, calls)
    return replace(
        stage,
        calls=calls,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        usd=usd,
        usd_with_cache=_usd(endpoint, stage.model, prompt, cached, completion),
        usd_in_batches=None if usd is None else BATCH_PRICE_FACTOR * usd,
        seconds=_seconds(endpoint, calls, prompt + completion, latency_s or answer_s),
    )


def _requests(
    explanation: str, texts: Sequence[list[str]], simulator: Simulator
) -> Iterator[SimulatorRequest]:
    at_once = simulator.records_at_once
    for place in range(0, len(texts), at_once):
        yield from simulator.ask(explanation, texts[place : place + at_once])


def _start(tokens: list[str]) -> list[str]:
    """Return the first `SENTENCE_TOKENS` tokens of a text, in place of a sentence."""
    return tokens[:SENTENCE_TOKENS]


def _silent(tokens: list[str]) -> ActivationRecord:
    start = tuple(_start(tokens))
    return ActivationRecord(start, (0.0,) * len(start))


def _cached_tokens(calls: Sequence[Call], counter: TokenCounter) -> int:
    """Return the prompt tokens that calls share with the start of the call before, if cacheable."""
    shared = (_shared_tokens(*pair, counter) for pair in pairwise(calls))
    return sum(n // CACHE_STEP * CACHE_STEP for n in shared if n >= CACHE_LEAST)


def _shared_tokens(before: Call, call: Call, counter: TokenCounter) -> int:
    shared = 0
    pairs = zip(counter.parts(before), counter.parts(call), strict=True)
    for (text_before, _), (text, tokens) in pairs:
        if text_before != text:
            return shared + counter.count(_common_start(text_before, text))
        shared += tokens
    return shared


def _common_start(a: str, b: str) -> str:
    pairs = enumerate(zip(a, b, strict=False))
    length = next((i for i, (left, right) in pairs if left != right), min(len(a), len(b)))
    return a[:length]


def _usd(
    endpoint: EndpointConfig, model: str, prompt: int, cached: int, completion: int
) -> float | None:
    price = endpoint.prices.get(model)
    return None if price is None else Price.from_config(price).cost(prompt, cached, completion)


def _seconds(
    endpoint: EndpointConfig, calls: int, tokens: int, latency_s: float
) -> dict[str, float]:
    seconds = {"max_in_flight": calls * latency_s / endpoint.max_in_flight}
    if endpoint.requests_per_minute:
        seconds["requests_per_minute"] = 60 * calls / endpoint.requests_per_minute
    if endpoint.tokens_per_minute:
        seconds["tokens_per_minute"] = 60 * tokens / endpoint.tokens_per_minute
    return seconds
