"""Simulator `chat_logprobs`: the question of `json`, read by what the model could have written.

The numbers cost the same tokens, but the expected value over the likely alternatives at each of
them says more than the one number that was written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import unpack
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray
from neurogloss.neurons.simulation import Simulation, distribution_at, simulation_of
from neurogloss.neurons.simulators.base import CHAT, ModelReply, SimulatorRequest, Tokens
from neurogloss.neurons.simulators.json_answers import parse_simulation, value_offsets
from neurogloss.neurons.simulators.json_object import json_body


@dataclass(frozen=True, slots=True)
class ChatLogprobsSimulator:
    """Asks for `top_logprobs` alternatives at each token of the answer."""

    top_logprobs: int = 20
    kind: ClassVar[str] = "chat_logprobs"
    records_at_once: ClassVar[int] = 1

    def ask(self, explanation: str, records: Sequence[Tokens]) -> list[SimulatorRequest]:
        """Return one question."""
        asked = {"logprobs": True, "top_logprobs": self.top_logprobs}
        return [SimulatorRequest(CHAT, json_body(explanation, records) | asked)]

    def read(
        self, explanation: str, records: Sequence[Tokens], replies: Sequence[ModelReply]
    ) -> list[Simulation | Malformed]:
        """Read the alternatives at the value of each position, found by its key."""
        (reply,), (tokens,) = replies, records
        written = parse_simulation(reply.text, len(tokens))
        offsets = value_offsets(reply.text, len(tokens))
        found = distribution_at(reply.distributions, offsets)
        return [simulation_of(_with_tens(found, written, offsets, reply.distributions or b""))]


def _with_tens(
    found: FloatArray, written: FloatArray, offsets: Sequence[int], packed: bytes
) -> FloatArray:
    """Return the distributions, where the model writes 10 as `1` and `0`, with 10 split from 1.

    How likely the `0` was is known only where a `1` was written, and a number of one digit is taken
    for itself elsewhere.
    """
    places = unpack(packed)
    rows = {int(offset): row for row, offset in enumerate(places["offset"])}
    split = found.copy()
    for position, offset in enumerate(offsets):
        if written[position] == MAX_NORMALIZED and offset + 1 in rows:
            second = places["probabilities"][rows[offset + 1]].astype(np.float64)
            one = float(found[position, 1])
            split[position, 1] = one * max(0.0, 1 - second.sum())
            split[position, MAX_NORMALIZED] += one * second[0]
    return split
