"""Probing what a model of an endpoint can do, by a few small calls before a run begins.

Every kind of simulator makes its real call about a short text, and its own parser reads the answer.
`auto` then takes the first of these that works:

1. `echo_logprobs`, if the log probabilities of a prompt show all the numbers: the paper's
   method, and the cheapest, because it generates one token for each record. Servers of one's own
   offer it.
2. `json`, for hosted chat models: under a strict schema no answer can be misaligned.

`chat_logprobs` costs the tokens of `json`, and the expected value over eleven numbers tells more
than the likeliest one. But its answers are some 300 KB instead of 1 KB, thirty times the work for a
worker, and what is kept of them doubles the dataset: it is used only where a configuration names
it. `token_by_token` is never chosen: it makes a call for every token.

Where 10 is never among the likely tokens, it may be two tokens (Llama, Gemma, Qwen), and the `1`
takes its probability in. Then the numbers go to 9 only, each of which is one token everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
from neurogloss.neurons.alarms import LITTLE_COVERED
from neurogloss.neurons.prompts import with_room
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
        numbers: How many of the numbers from 0 to `highest` are ever among the likely tokens.
        highest: As in `SimulatorChoice`.
    """

    name: str
    works: bool
    detail: str
    top_logprobs: int | None = None
    prompt_logprobs: bool = False
    covered: float | None = None
    numbers: int | None = None
    highest: int = MAX_NORMALIZED


@dataclass(frozen=True, slots=True)
class Probe:
    """The findings about a model. `refused` are parameters that it does not support."""

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

    def choice_of(self, kind: str) -> SimulatorChoice | None:
        """Return the simulator of a kind, or the one that `auto` takes; None if it does not work.

        Args:
            kind: As in the configuration.
        """
        if kind == "auto":
            try:
                return self.choice()
            except UnsuitableModel:
                return None
        working = (f for f in self.findings if f.name == kind and f.works)
        return next((_choice(finding, "configured") for finding in working), None)


def probe(
    endpoint: Endpoint, model: str, kinds: Sequence[str] = KINDS, max_tokens: int | None = None
) -> Probe:
    """Find out what a model can do, by about one paid call for each kind of simulator.

    `max_tokens` is that of the configuration, for a model that thinks before it answers.

    Raises:
        RunError: The endpoint is not there, or refuses the key or the model.
    """
    with SingleCalls(endpoint, model, PURPOSE, max_tokens) as calls:
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


def probe_kind(
    endpoint: Endpoint, model: str, kind: str, max_tokens: int | None = None
) -> tuple[SimulatorChoice, Probe]:
    """Return the choice of a simulator, of one kind or the best by `auto`, and its probe.

    Raises:
        RunError: The model does not work as such a simulator.
    """
    probed = probe(endpoint, model, AUTO_ORDER if kind == "auto" else (kind,), max_tokens)
    if kind == "auto":
        return probed.choice(), probed
    (finding,) = probed.findings
    if not finding.works:
        raise UnsuitableModel(f"{model} does not work as simulator {kind}: {finding.detail}")
    return _choice(finding, f"configured; it works ({finding.detail})"), probed


def probe_chat(endpoint: Endpoint, model: str, max_tokens: int | None = None) -> Probe:
    """Find out whether a model answers chat completions, which explainers make.

    Args:
        endpoint: Where it is.
        model: Its name.
        max_tokens: That of the configuration, for a model that thinks before it answers.

    Raises:
        RunError: It does not, or not within the limit of tokens.
    """
    message = {"role": "user", "content": "Name a river, in one word."}
    body = {"messages": [message], "max_tokens": _ANSWER_TOKENS, "temperature": 1.0, "top_p": 1.0}
    with SingleCalls(endpoint, model, PURPOSE, max_tokens) as calls:
        try:
            _ask_for_text(calls, with_room(body, max_tokens))
        except OnlyReasoned as error:
            raise UnsuitableModel(f"{model} does not come to an answer: {error.reason}") from error
        except RowError as error:
            raise UnsuitableModel(f"{model} does not answer in a chat: {error.reason}") from error
        return Probe((Finding("chat", True, "it answers"),), calls.refused, tuple(calls.answers))


def _ask_for_text(calls: SingleCalls, body: Mapping[str, Any]) -> None:
    """Ask, and once more with twice the limit of tokens, as a run does; a long answer is one too.

    Raises:
        RowError: There is no answer, or only reasoning.
    """
    limit = body["max_tokens"]
    for max_tokens in (limit, 2 * limit):
        try:
            calls.ask({**body, "max_tokens": max_tokens})
        except OnlyReasoned:
            if max_tokens > limit:
                raise
        except Truncated:
            return  # a long answer is an answer
        else:
            return


def _choice(finding: Finding, reason: str) -> SimulatorChoice:
    top = finding.top_logprobs or 0
    return SimulatorChoice(finding.name, top, finding.prompt_logprobs, reason, finding.highest)


def _lack(finding: Finding) -> str | None:
    """Return why `auto` must not choose a kind; None if it may."""
    if not finding.works:
        return finding.detail
    if finding.covered is not None and finding.covered < _LEAST_COVERED:
        least = f"{_LEAST_COVERED:.0%}"
        return f"numbers have {finding.covered:.1%} of the probability, less than {least}"
    # A number that is never likely would have the probability 0, and all expected values be too
    # low.
    if finding.numbers is not None and finding.numbers <= finding.highest:
        numbers = f"{finding.numbers} of the numbers 0 to {finding.highest}"
        return f"only {numbers} are ever among the likely tokens"
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
    # OpenAI's form first, since more servers have it than vLLM's `prompt_logprobs`.
    in_vllm_way = (False, True) if kind == "echo_logprobs" else (False,)
    return [[SimulatorChoice(kind, top, vllm) for top in _TOP_LOGPROBS] for vllm in in_vllm_way]


def _try_choice(calls: SingleCalls, choice: SimulatorChoice) -> Finding:
    """Simulate a short text, once more with numbers to 9 where 10 is never likely.

    Raises:
        RowError: It does not work.
        UnsuitableModel: The model does not support a parameter.
    """
    simulation = _simulate_one_text(calls, choice)
    likely = simulation.distribution
    if likely is not None and not (likely[:, MAX_NORMALIZED] > 0).any():
        choice = replace(choice, highest=MAX_NORMALIZED - 1)
        simulation = _simulate_one_text(calls, choice)
    return _finding(choice, simulation)


def _simulate_one_text(calls: SingleCalls, choice: SimulatorChoice) -> Simulation:
    """Simulate a short text, and another one if the answer to the first is of no use."""
    try:
        return _simulate(calls, choice, _TEXTS[0])
    except RequestRejected:
        raise  # another text would be rejected too
    except RowError:
        return _simulate(calls, choice, _TEXTS[1])


def _simulate(calls: SingleCalls, choice: SimulatorChoice, text: Sequence[str]) -> Simulation:
    tokens = text[:1] if choice.kind == "token_by_token" else text  # one call for each token
    return calls.simulate(simulator_of(choice), _EXPLANATION, tokens)


def _finding(choice: SimulatorChoice, simulation: Simulation) -> Finding:
    if simulation.distribution is None:
        return Finding(choice.kind, True, "its answer can be read")
    covered = simulation.covered or 0.0
    numbers = int((simulation.distribution[:, : choice.highest + 1] > 0).any(axis=0).sum())
    if numbers == 0:
        return Finding(choice.kind, False, "no number is ever among the likely tokens")
    parameter = "prompt_logprobs" if choice.prompt_logprobs else "logprobs"
    covers = f"{covered:.1%} of the probability on {numbers} numbers"
    detail = f"{parameter} = {choice.top_logprobs}, {covers}"
    if choice.highest < MAX_NORMALIZED:
        detail += f", from 0 to {choice.highest} as 10 is never among the likely tokens"
    if covered < LITTLE_COVERED:
        detail += ", which is little: the model mostly expects other tokens"
    found = (choice.top_logprobs, choice.prompt_logprobs, covered, numbers, choice.highest)
    return Finding(choice.kind, True, detail, *found)
