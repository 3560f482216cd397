"""What a model of an endpoint can do: found out by a few small calls before a run begins.

Every kind of simulator makes its real call about a short text, and its own parser reads the answer.
`auto` then takes the first of these that works:

1. `echo_logprobs`, if the log probabilities of a prompt show all eleven numbers: the paper's
   method, and the cheapest, because it generates one token for each record. Servers of one's own
   offer it.
2. `json`, for hosted chat models: under a strict schema no answer can be misaligned.

`chat_logprobs` costs the tokens of `json`, and the expected value over eleven numbers tells more
than the likeliest one. But its answers are some 300 KB instead of 1 KB, thirty times the work for a
worker, and what is kept of them doubles the dataset: it is used only where a configuration names
it. `token_by_token` is never chosen: it makes a call for every token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from neurogloss.errors import (
    OnlyReasoned,
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
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of

AUTO_ORDER = ("echo_logprobs", "json")
KINDS = (*AUTO_ORDER, "chat_logprobs", "token_by_token")
_TOP_LOGPROBS = (20, 15, MAX_NORMALIZED + 1)  # the most that any server gives, down to the least
_LEAST_COVERED = 0.01  # of the probability: with less, the model does not see the task
_TEXTS = (
    (" From", " the", " Rhine", " it", " is", " 10", " miles", "\n"),
    (" Boats", " on", " the", " Danube", " carry", " grain", ",", " mostly"),
)  # the second is tried where the first is refused or its answer is malformed
_EXPLANATION = "names of rivers"
_ANSWER_TOKENS = 60  # of an explanation
PURPOSE = "probe"


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether one kind of call works.

    Attributes:
        covered: The mean probability of all numbers together, from 0 to 1.
        numbers: How many of the numbers 0 to 10 are ever among the likely tokens.
    """

    name: str
    works: bool
    detail: str
    top_logprobs: int | None = None
    prompt_logprobs: bool = False
    covered: float | None = None
    numbers: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found about a model. `refused` are parameters that it does not support."""

    findings: tuple[Finding, ...]
    refused: tuple[str, ...]
    answers: tuple[Answer, ...] = field(repr=False)

    def choice(self) -> SimulatorChoice:
        """Return what `auto` chooses.

        Raises:
            UnsuitableModel: Nothing works.
        """
        reasons: list[str] = []
        for finding in self.findings:
            lack = _lack(finding)
            if finding.name in AUTO_ORDER and lack is None:
                return _choice(finding, "; ".join([f"it works ({finding.detail})", *reasons]))
            reasons.append(f"not {finding.name}: {lack}")
        raise UnsuitableModel("no simulator works with this model: " + "; ".join(reasons))


def probe(endpoint: Endpoint, model: str, kinds: Sequence[str] = KINDS) -> Probe:
    """Find out what a model can do, by about one paid call for each kind of simulator.

    Raises:
        RunError: The endpoint is not there, or refuses the key or the model.
    """
    with SingleCalls(endpoint, model, PURPOSE) as calls:
        findings, unknown = [], []
        for kind in kinds:
            try:
                findings.append(_try(calls, kind))
            except UnknownModel as error:  # some models have only one of the two paths
                findings.append(Finding(kind, False, error.reason))
                unknown.append(error)
        # If no path knows the model, it is the model that is unknown.
        if len(unknown) == len(findings):
            raise unknown[-1]
        return Probe(tuple(findings), calls.refused, tuple(calls.answers))


def probe_kind(endpoint: Endpoint, model: str, kind: str) -> tuple[SimulatorChoice, Probe]:
    """Return the choice of a simulator, of one kind or the best by `auto`, and its probe.

    Raises:
        RunError: The model does not work as such a simulator.
    """
    probed = probe(endpoint, model, AUTO_ORDER if kind == "auto" else (kind,))
    if kind == "auto":
        return probed.choice(), probed
    (finding,) = probed.findings
    if not finding.works:
        raise UnsuitableModel(f"{model} does not work as simulator {kind}: {finding.detail}")
    return _choice(finding, f"configured; it works ({finding.detail})"), probed


def probe_chat(endpoint: Endpoint, model: str, max_tokens: int = _ANSWER_TOKENS) -> Probe:
    """Find out whether a model answers chat completions, which explainers make.

    Args:
        endpoint: Where it is.
        model: Its name.
        max_tokens: What the answers of the run may have.

    Raises:
        RunError: It does not.
    """
    message = {"role": "user", "content": "Name a river, in one word."}
    body = {"messages": [message], "max_tokens": max_tokens, "temperature": 1.0, "top_p": 1.0}
    with SingleCalls(endpoint, model, PURPOSE) as calls:
        try:
            calls.ask(body)
        except OnlyReasoned as error:
            raise UnsuitableModel(f"{model} does not come to an answer: {error.reason}") from error
        except Truncated:
            pass  # a long answer is an answer
        except RowError as error:
            raise UnsuitableModel(f"{model} does not answer in a chat: {error.reason}") from error
        return Probe((Finding("chat", True, "it answers"),), calls.refused, tuple(calls.answers))


def _choice(finding: Finding, reason: str) -> SimulatorChoice:
    top = finding.top_logprobs or 0
    return SimulatorChoice(finding.name, top, finding.prompt_logprobs, reason)


def _lack(finding: Finding) -> str | None:
    """Return why `auto` must not choose a kind; None if it may."""
    if not finding.works:
        return finding.detail
    if finding.covered is not None and finding.covered < _LEAST_COVERED:
        least = f"{_LEAST_COVERED:.0%}"
        return f"numbers have {finding.covered:.1%} of the probability, less than {least}"
    if finding.numbers is not None and finding.numbers <= MAX_NORMALIZED:
        return f"only {finding.numbers} of the numbers 0 to 10 are ever among the likely tokens"
    return None


def _try(calls: SingleCalls, kind: str) -> Finding:
    """Try each form of a kind until one works; return the finding of that one or of the last."""
    detail = ""
    for forms in _forms(kind):
        for choice in forms:
            try:
                return _try_choice(calls, choice)
            except (RequestRejected, UnsuitableModel) as error:
                detail = error.reason  # fewer alternatives may be allowed
            except RowError as error:
                detail = error.reason
                break
    return Finding(kind, False, detail)


def _forms(kind: str) -> list[list[SimulatorChoice]]:
    """Return the forms of a kind; each is a list of choices with fewer and fewer alternatives."""
    if kind == "json":
        return [[SimulatorChoice(kind)]]
    in_vllm_way = (False, True) if kind == "echo_logprobs" else (False,)
    return [[SimulatorChoice(kind, top, vllm) for top in _TOP_LOGPROBS] for vllm in in_vllm_way]


def _try_choice(calls: SingleCalls, choice: SimulatorChoice) -> Finding:
    """Simulate a short text, and another one if the answer to the first is of no use.

    Raises:
        RowError: It does not work.
        UnsuitableModel: The model does not support a parameter.
    """
    try:
        simulation = _simulate(calls, choice, _TEXTS[0])
    except RequestRejected:
        raise  # another text would be rejected too
    except RowError:
        simulation = _simulate(calls, choice, _TEXTS[1])
    return _finding(choice, simulation)


def _simulate(calls: SingleCalls, choice: SimulatorChoice, text: Sequence[str]) -> Simulation:
    tokens = text[:1] if choice.kind == "token_by_token" else text  # one call for each token
    return calls.simulate(simulator_of(choice), _EXPLANATION, tokens)


def _finding(choice: SimulatorChoice, simulation: Simulation) -> Finding:
    if simulation.distribution is None:
        return Finding(choice.kind, True, "its answer can be read")
    weights = simulation.distribution.astype(np.float64)
    covered, numbers = float(weights.sum(axis=1).mean()), int((weights > 0).any(axis=0).sum())
    parameter = "prompt_logprobs" if choice.prompt_logprobs else "logprobs"
    covers = f"{covered:.1%} of the probability on {numbers} numbers"
    detail = f"{parameter} = {choice.top_logprobs}, {covers}"
    return Finding(
        choice.kind, True, detail, choice.top_logprobs, choice.prompt_logprobs, covered, numbers
    )
