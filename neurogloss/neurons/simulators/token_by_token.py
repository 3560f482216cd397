"""Simulator `token_by_token`: one call for each token, whose answer is its activation.

A record of 64 tokens costs 64 prompts. Each begins with the one before it, so that a prompt cache
saves most of that. It serves to compare other simulators with, not to score whole models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import Distributions
from neurogloss.neurons.few_shot import EXAMPLES, on_scale
from neurogloss.neurons.prompts import Message, message, visible
from neurogloss.neurons.records import MAX_NORMALIZED
from neurogloss.neurons.simulation import Simulation, read_distributions, simulation_of
from neurogloss.neurons.simulators.base import CHAT, ModelReply, SimulatorRequest, Tokens

_SYSTEM = (
    "You study neurons of a neural network. Every neuron looks for one particular thing in short "
    "texts. You are told what a neuron looks for and given the beginning of a text, one numbered "
    "token a line. Predict the neuron's activation on the last token: an integer from 0, where it "
    "finds nothing, to {highest}, where it finds exactly what it looks for. Most activations are "
    r"0. Answer with the integer alone. In tokens, \n stands for a line break and \t for a tab."
)
_FIRST_TOKEN = 2  # the line of the first token in a prompt
_SHOWN_UNTIL = (25, 20, 40)  # the last token that each example shows, and gives the activation of


@dataclass(frozen=True, slots=True)
class TokenByTokenSimulator:
    """Asks a chat model for `top_logprobs` alternatives of the one token that it writes."""

    top_logprobs: int = 20
    highest: int = MAX_NORMALIZED
    kind: ClassVar[str] = "token_by_token"
    records_at_once: ClassVar[int] = 1

    def ask(self, explanation: str, records: Sequence[Tokens]) -> list[SimulatorRequest]:
        """Return one request for each token of the record."""
        (tokens,) = records
        lines = _lines(explanation, tokens)
        until = range(_FIRST_TOKEN + 1, len(lines) + 1)
        return [SimulatorRequest(CHAT, self._body(lines[:end])) for end in until]

    def _body(self, lines: Sequence[str]) -> dict[str, object]:
        return {
            "messages": [*_examples(self.highest), message("user", "\n".join(lines))],
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": self.top_logprobs,
        }

    def read(
        self, explanation: str, records: Sequence[Tokens], replies: Sequence[ModelReply]
    ) -> list[Simulation | Malformed]:
        """Read the distribution of the first token of each answer."""
        rows = [_first(position, reply) for position, reply in enumerate(replies)]
        return [simulation_of(np.concatenate(rows))]


def _first(position: int, reply: ModelReply) -> Distributions:
    """Return the distribution of an answer's first token, (1,), whatever that token is."""
    try:
        places = read_distributions(reply.distributions)
    except Malformed as error:
        raise Malformed(f"position {position}: {error.reason}") from error
    if len(places) == 0:
        raise Malformed(f"position {position}: no log probabilities of {reply.text[:20]!r}")
    return places[:1]


@cache
def _examples(highest: int) -> Sequence[Message]:
    messages = [message("system", _SYSTEM.replace("{highest}", str(highest)))]
    for example, last in zip(EXAMPLES, _SHOWN_UNTIL, strict=True):
        shown = on_scale(example.records[0][: last + 1], highest)
        lines = _lines(example.explanation, [token for token, _ in shown])
        messages.append(message("user", "\n".join(lines)))
        messages.append(message("assistant", str(shown[-1][1])))
    return messages


def _lines(explanation: str, tokens: Tokens) -> list[str]:
    numbered = (f"{number}: {visible(token)}" for number, token in enumerate(tokens))
    return [f"The neuron looks for: {visible(explanation)}", "Tokens:", *numbered]
