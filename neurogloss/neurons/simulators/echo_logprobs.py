r"""Simulator `echo_logprobs`: the paper's, which reads log probabilities of the prompt itself.

The prompt has a line "token\tunknown" for every token; the simulation is the distribution over the
numbers in the place of each `unknown`. One call simulates a whole record for the price of its
prompt, because nothing is generated. It needs a server that gives log probabilities of a prompt:
completions with `echo`, or vLLM's `prompt_logprobs`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import UNKNOWN
from neurogloss.neurons.few_shot import EXAMPLES
from neurogloss.neurons.prompts import visible
from neurogloss.neurons.simulation import Simulation, distribution_at, simulation_of
from neurogloss.neurons.simulators.base import COMPLETIONS, ModelReply, SimulatorRequest, Tokens

_SYSTEM = (
    "Neurons of a neural network look for particular things in short texts. Below, each neuron is "
    "described, and a text is given, one token a line. After each token and a tab stands the "
    "activation of the neuron on it: an integer from 0, where it finds nothing, to 10, where it "
    f'finds exactly what it looks for, or "{UNKNOWN}". Most activations are 0. A neuron sees a '
    "token and what comes before it, never what follows. "
    r"In tokens, \n stands for a line break and \t for a tab."
)
# The token from which each example gives numbers; before it they say `unknown`, as the record does.
_REVEALED_FROM = (10, 5, 0)


@dataclass(frozen=True, slots=True)
class EchoLogprobsSimulator:
    """Asks for `top_logprobs` alternatives at each token of the prompt."""

    top_logprobs: int = 15
    prompt_logprobs: bool = False
    kind: ClassVar[str] = "echo_logprobs"
    records_at_once: ClassVar[int] = 1

    def ask(self, explanation: str, records: Sequence[Tokens]) -> list[SimulatorRequest]:
        """Return one request."""
        (tokens,) = records
        prompt, _ = echo_prompt(explanation, tokens)
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
        _, offsets = echo_prompt(explanation, tokens)
        return [simulation_of(distribution_at(reply.distributions, offsets))]


def echo_prompt(explanation: str, tokens: Tokens) -> tuple[str, list[int]]:
    """Return the prompt for a record, and the offset of each token's `unknown` in characters."""
    parts = [_SYSTEM]
    for number, (example, revealed) in enumerate(
        zip(EXAMPLES, _REVEALED_FROM, strict=True), start=1
    ):
        lines = [
            f"{visible(token)}\t{activation if place >= revealed else UNKNOWN}"
            for place, (token, activation) in enumerate(example.records[0])
        ]
        parts.append("\n".join([_heading(number, example.explanation), *lines, "<end>"]))
    parts.append(_heading(len(EXAMPLES) + 1, explanation) + "\n")
    prompt, offsets = "\n\n".join(parts), []
    for token in tokens:
        prompt += f"{visible(token)}\t"
        offsets.append(len(prompt))
        prompt += f"{UNKNOWN}\n"
    return prompt + "<end>", offsets


def _heading(number: int, explanation: str) -> str:
    return f"Neuron {number} looks for: {visible(explanation)}\nActivations:\n<start>"
