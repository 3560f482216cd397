"""What an endpoint's model can do, found out by asking: a few small calls before a run begins.

Every kind of simulator asks its real question about a short text, and its own parser reads the
answer. `auto` then takes the first of these that works:

1. `echo_logprobs`, if the log probabilities of a prompt show all eleven numbers: the paper's
   method, and the cheapest, for it generates one token a record. Servers of one's own offer it.
2. `json`, where hosted chat models end: under a strict schema no answer can be misaligned.

`chat_logprobs` costs the tokens of `json`, and the expected value over eleven numbers tells more
than the likeliest one. But its answers are some 300 KB instead of 1 KB, thirty times the work for a
worker, and what is kept of them doubles the dataset: it is for who asks for it by name.
`token_by_token` is never chosen: it makes a call for every token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from neurogloss.errors import (
    Malformed,
    RequestRejected,
    RowError,
    Truncated,
    UnknownModel,
    UnsuitableModel,
)
from neurogloss.llm.calls import Answer
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.single_calls import SingleCalls
from neurogloss.neurons.records import MAX_NORMALIZED
from neurogloss.neurons.simulation import Simulation
from neurogloss.neurons.simulators.base import CHAT, ModelReply, SimulatorRequest
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of

AUTO_ORDER = ("echo_logprobs", "json")
KINDS = (*AUTO_ORDER, "chat_logprobs", "token_by_token")
_TOP_LOGPROBS = (20, 15, MAX_NORMALIZED + 1)  # the most that any server gives, down to the least
_LEAST_COVERED = 0.01  # of the probability: less, and the model does not see the task
_TEXTS = (
    (" From", " the", " Rhine", " it", " is", " 10", " miles", "\n"),
    (" Boats", " on", " the", " Danube", " carry", " grain", ",", " mostly"),
)  # the second is for when the first meets a refusal or the like
_EXPLANATION = "names of rivers"


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether one way of asking works. `covered` is the mean probability of all numbers."""

    name: str
    works: bool
    detail: str
    top_logprobs: int | None = None
    prompt_logprobs: bool = False
    covered: float | None = None
    numbers: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found about a model. `refused` are parameters that it does not take."""

    findings: tuple[Finding, ...]
    refused: tuple[str, ...]
    answers: tuple[Answer, ...] = field(repr=False)

    def choice(self) -> SimulatorChoice:
        """Return what `auto` chooses.

        Raises:
            UnsuitableModel: Nothing works.
        """
        reasons: list[str] = []
        for found in self.findings:
            lack = _lack(found)
            if found.name in AUTO_ORDER and lack is None:
                return _choice(found, "; ".join([f"it works ({found.detail})", *reasons]))
            reasons.append(f"not {found.name}: {lack}")
        raise UnsuitableModel("no simulator works with this model: " + "; ".join(reasons))


def probe(endpoint: Endpoint, model: str, kinds: Sequence[str] = KINDS) -> Probe:
    """Find out what a model can do, by about one paid call for each kind of simulator.

    Raises:
        RunError: The endpoint is not there, or refuses the key or the model.
    """
    with SingleCalls(endpoint, model) as calls:
        findings, unknown = [], []
        for kind in kinds:
            try:
                findings.append(_try(calls, kind))
            except UnknownModel as error:  # some models have one of the two paths
                findings.append(Finding(kind, False, error.reason))
                unknown.append(error)
        if len(unknown) == len(findings):
            raise unknown[-1]
        return Probe(tuple(findings), calls.refused, tuple(calls.answers))


def probe_kind(endpoint: Endpoint, model: str, kind: str) -> tuple[SimulatorChoice, Probe]:
    """Return how a model is to be asked as one kind of simulator, or as `auto` finds best.

    Raises:
        RunError: It cannot be.
    """
    found = probe(endpoint, model, AUTO_ORDER if kind == "auto" else (kind,))
    if kind == "auto":
        return found.choice(), found
    (finding,) = found.findings
    if not finding.works:
        raise UnsuitableModel(f"{model} does not work as simulator {kind}: {finding.detail}")
    return _choice(finding, f"configured; it works ({finding.detail})"), found


def probe_chat(endpoint: Endpoint, model: str) -> Probe:
    """Find out whether a model answers in a chat, as the explainer asks.

    Raises:
        RunError: It does not.
    """
    message = {"role": "user", "content": "Name a river, in one word."}
    body = {"messages": [message], "max_tokens": 60, "temperature": 1.0, "top_p": 1.0}
    with SingleCalls(endpoint, model) as calls:
        try:
            calls.ask(SimulatorRequest(CHAT, body))
        except Truncated:
            pass  # it speaks
        except RowError as error:
            raise UnsuitableModel(f"{model} does not answer in a chat: {error.reason}") from error
        return Probe((Finding("chat", True, "it answers"),), calls.refused, tuple(calls.answers))


def _choice(found: Finding, reason: str) -> SimulatorChoice:
    top = found.top_logprobs or 0
    return SimulatorChoice(found.name, top, found.prompt_logprobs, reason)


def _lack(found: Finding) -> str | None:
    """Return why a kind is not to be chosen by itself, None if it may be."""
    if not found.works:
        return found.detail
    if found.covered is not None and found.covered < _LEAST_COVERED:
        least = f"{_LEAST_COVERED:.0%}"
        return f"numbers have {found.covered:.1%} of the probability, less than {least}"
    if found.numbers is not None and found.numbers <= MAX_NORMALIZED:
        return f"only {found.numbers} of the numbers 0 to 10 are ever among the likely tokens"
    return None


def _try(calls: SingleCalls, kind: str) -> Finding:
    """Ask in each form of a kind until one works; return what came of that or of the last."""
    detail = ""
    for forms in _forms(kind):
        for choice in forms:
            try:
                return _ask_as(calls, choice)
            except (RequestRejected, UnsuitableModel) as error:  # fewer alternatives may do
                detail = error.reason
            except RowError as error:
                detail = error.reason
                break
    return Finding(kind, False, detail)


def _forms(kind: str) -> list[list[SimulatorChoice]]:
    if kind == "json":
        return [[SimulatorChoice(kind)]]
    ways = (False, True) if kind == "echo_logprobs" else (False,)
    return [[SimulatorChoice(kind, top, way) for top in _TOP_LOGPROBS] for way in ways]


def _ask_as(calls: SingleCalls, choice: SimulatorChoice) -> Finding:
    """Simulate a short text; another one, if what came for the first cannot be used.

    Raises:
        RowError: It does not work.
        UnsuitableModel: The model does not take a parameter.
    """
    try:
        simulation = _simulate(calls, choice, _TEXTS[0])
    except RequestRejected:
        raise
    except RowError:
        simulation = _simulate(calls, choice, _TEXTS[1])
    return _finding(choice, simulation)


def _simulate(calls: SingleCalls, choice: SimulatorChoice, text: Sequence[str]) -> Simulation:
    simulator = simulator_of(choice)
    tokens = text[:1] if choice.kind == "token_by_token" else text
    answers = [calls.ask(question) for question in simulator.ask(_EXPLANATION, [tokens])]
    replies = [ModelReply(answer.text, answer.distributions) for answer in answers]
    (simulation,) = simulator.read(_EXPLANATION, [tokens], replies)
    if isinstance(simulation, Malformed):
        raise simulation
    return simulation


def _finding(choice: SimulatorChoice, simulation: Simulation) -> Finding:
    if simulation.distribution is None:
        return Finding(choice.kind, True, "its answer can be read")
    weights = simulation.distribution.astype(np.float64)
    covered, numbers = float(weights.sum(axis=1).mean()), int((weights > 0).any(axis=0).sum())
    way = "prompt_logprobs" if choice.prompt_logprobs else "logprobs"
    detail = f"{way} = {choice.top_logprobs}, {covered:.1%} of the probability on {numbers} numbers"
    return Finding(
        choice.kind, True, detail, choice.top_logprobs, choice.prompt_logprobs, covered, numbers
    )
