"""Simulator `chat_logprobs`: the request of `json`, read by the log probabilities of its answer.

The answer costs the same tokens, but the expected value over the likely alternatives to each number
says more than the one number that was written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import Distributions
from neurogloss.neurons.json_answers import parse_simulation, value_offsets
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray
from neurogloss.neurons.simulation import (
    Simulation,
    distribution_at,
    read_distributions,
    simulation_of,
)
from neurogloss.neurons.simulators.base import CHAT, ModelReply, SimulatorRequest, Tokens
from neurogloss.neurons.simulators.json_simulator import json_body


@dataclass(frozen=True, slots=True)
class ChatLogprobsSimulator:
    """Asks for `top_logprobs` alternatives at each token of the answer."""

    top_logprobs: int = 20
    highest: int = MAX_NORMALIZED
    kind: ClassVar[str] = "chat_logprobs"
    records_at_once: ClassVar[int] = 1

    def ask(self, explanation: str, records: Sequence[Tokens]) -> list[SimulatorRequest]:
        """Return one request."""
        logprobs = {"logprobs": True, "top_logprobs": self.top_logprobs}
        return [SimulatorRequest(CHAT, json_body(explanation, records, self.highest) | logprobs)]

    def read(
        self, explanation: str, records: Sequence[Tokens], replies: Sequence[ModelReply]
    ) -> list[Simulation | Malformed]:
        """Read the alternatives at the value of each position, which its key locates."""
        (reply,), (tokens,) = replies, records
        written = parse_simulation(reply.text, len(tokens))
        offsets = value_offsets(reply.text, len(tokens))
        places = distribution_at(reply.distributions, offsets)
        return [simulation_of(_with_tens(places, written, read_distributions(reply.distributions)))]


def _with_tens(
    places: Distributions, written: FloatArray, all_places: Distributions
) -> Distributions:
    """Return distributions with 10 split from 1, where the model writes 10 as tokens `1` and `0`.

    The probability of the `0` is known only where a `1` was written before it. Elsewhere the
    probability of the token `1` counts for the number 1.
    """
    row_of = {int(offset): row for row, offset in enumerate(all_places["offset"])}
    split = places.copy()
    for number, value, place in zip(split["probabilities"], written, places, strict=True):
        if value == MAX_NORMALIZED and (row := row_of.get(int(place["offset"]) + 1)) is not None:
            second, one = all_places[row], float(number[1])
            number[1] = one * max(0.0, 1 - float(second["covered"]))
            number[MAX_NORMALIZED] += one * float(second["covered"] * second["probabilities"][0])
    return split
