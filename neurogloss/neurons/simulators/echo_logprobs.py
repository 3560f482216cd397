r"""Simulator `echo_logprobs`: the paper's, which reads log probabilities of the prompt itself.

The prompt has a line "token\tunknown" for every token; the simulation is the distribution over the
numbers in the place of each `unknown`. One call simulates a whole record for the price of its
prompt, because nothing is generated. It needs a server that gives log probabilities of a prompt:
completions with `echo`, or vLLM's `prompt_logprobs`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import UNKNOWN
from neurogloss.neurons.few_shot import EXAMPLES, TokenActivations, on_scale
from neurogloss.neurons.prompts import record_bodies, visible
from neurogloss.neurons.records import MAX_NORMALIZED
from neurogloss.neurons.simulation import Simulation, distribution_at, simulation_of
from neurogloss.neurons.simulators.base import COMPLETIONS, ModelReply, SimulatorRequest, Tokens

_SYSTEM = (
    "Neurons of a neural network look for particular things in short texts. Below, each neuron is "
    "described, and a text is given, one token a line. After each token and a tab stands the "
    "activation of the neuron on it: an integer from 0, where it finds nothing, to {highest}, "
    f'where it finds exactly what it looks for, or "{UNKNOWN}". Most activations are 0. A '
    "neuron sees a token and what comes before it, never what follows. "
    r"In tokens, \n stands for a line break and \t for a tab."
)
# The token from which each record of the examples gives numbers, none after its first above 0.
# Those before it say `unknown`, as the record that is asked about does.
_REVEALED_FROM = ((10, 3), (5, 20), (0, 10))


@dataclass(frozen=True, slots=True)
class EchoLogprobsSimulator:
    """Asks for `top_logprobs` alternatives at each token of the prompt."""

    top_logprobs: int = 15
    prompt_logprobs: bool = False
    highest: int = MAX_NORMALIZED
    kind: ClassVar[str] = "echo_logprobs"
    records_at_once: ClassVar[int] = 1

    def ask(self, explanation: str, records: Sequence[Tokens]) -> list[SimulatorRequest]:
        """Return one request."""
        (tokens,) = records
        prompt, _ = echo_prompt(explanation, tokens, self.highest)
        logprobs: dict[str, Any] = {"echo": True, "logprobs": self.top_logprobs}
        if self.prompt_logprobs:
            logprobs = {"prompt_logprobs": self.top_logprobs}
        # One token is the fewest that every server agrees to generate.
        body = {"prompt": prompt, "max_tokens": 1, "temperature": 0.0, **logprobs}
        return [SimulatorRequest(COMPLETIONS, body)]

    def read(
        self, explanation: str, records: Sequence[Tokens], replies: Sequence[ModelReply]
    ) -> list[Simulation | Malformed]:
        """Read the distributions at the offsets where the prompt says `unknown`."""
        (reply,), (tokens,) = replies, records
        _, offsets = echo_prompt(explanation, tokens, self.highest)
        return [simulation_of(distribution_at(reply.distributions, offsets))]


def echo_prompt(
    explanation: str, tokens: Tokens, highest: int = MAX_NORMALIZED
) -> tuple[str, list[int]]:
    """Return the prompt for a record, and the offset of each token's `unknown` in characters."""
    prompt = _examples(highest) + _heading(len(EXAMPLES) + 1, explanation) + "<start>\n"
    offsets = []
    for token in tokens:
        prompt += f"{visible(token)}\t"
        offsets.append(len(prompt))
        prompt += f"{UNKNOWN}\n"
    return prompt + "<end>", offsets


@cache
def _examples(highest: int) -> str:
    text = _SYSTEM.replace("{highest}", str(highest)) + "\n\n"
    for number, (example, revealed_from) in enumerate(
        zip(EXAMPLES, _REVEALED_FROM, strict=True), start=1
    ):
        shown = [
            _partly_revealed(on_scale(record, highest), start)
            for record, start in zip(example.records, revealed_from, strict=True)
        ]
        text += _heading(number, example.explanation) + record_bodies(shown) + "\n\n"
    return text


def _partly_revealed(record: TokenActivations, start: int) -> list[tuple[str, int | str]]:
    return [
        (token, activation if place >= start else UNKNOWN)
        for place, (token, activation) in enumerate(record)
    ]


def _heading(number: int, explanation: str) -> str:
    return f"Neuron {number} looks for: {visible(explanation)}\nActivations:\n"
