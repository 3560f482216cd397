"""Simulator `chat_logprobs`: the request of `json`, read by the log probabilities of its answer.

The answer costs the same tokens, but the expected value over the likely alternatives to each number
says more than the one number that was written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import unpack_distributions
from neurogloss.neurons.json_answers import parse_simulation, value_offsets
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray
from neurogloss.neurons.simulation import Simulation, distribution_at, simulation_of
from neurogloss.neurons.simulators.base import CHAT, ModelReply, SimulatorRequest, Tokens
from neurogloss.neurons.simulators.json_simulator import json_body


@dataclass(frozen=True, slots=True)
class ChatLogprobsSimulator:
    """Asks for `top_logprobs` alternatives at each token of the answer."""

    top_logprobs: int = 20
    kind: ClassVar[str] = "chat_logprobs"
    records_at_once: ClassVar[int] = 1

    def ask(self, explanation: str, records: Sequence[Tokens]) -> list[SimulatorRequest]:
        """Return one request."""
        logprobs = {"logprobs": True, "top_logprobs": self.top_logprobs}
        return [SimulatorRequest(CHAT, json_body(explanation, records) | logprobs)]

    def read(
        self, explanation: str, records: Sequence[Tokens], replies: Sequence[ModelReply]
    ) -> list[Simulation | Malformed]:
        """Read the alternatives at the value of each position, which its key locates."""
        (reply,), (tokens,) = replies, records
        written = parse_simulation(reply.text, len(tokens))
        offsets = value_offsets(reply.text, len(tokens))
        distribution = distribution_at(reply.distributions, offsets)
        packed = reply.distributions or b""
        return [simulation_of(_with_tens(distribution, written, offsets, packed))]


def _with_tens(
    distribution: FloatArray, written: FloatArray, offsets: Sequence[int], packed: bytes
) -> FloatArray:
    """Return distributions with 10 split from 1, where the model writes 10 as tokens `1` and `0`.

    The probability of the `0` is known only where a `1` was written before it. Elsewhere the
    probability of the token `1` counts for the number 1.
    """
    places = unpack_distributions(packed)
    row_of = {int(offset): row for row, offset in enumerate(places["offset"])}
    split = distribution.copy()
    for position, offset in enumerate(offsets):
        if written[position] == MAX_NORMALIZED and offset + 1 in row_of:
            second = places["probabilities"][row_of[offset + 1]].astype(np.float64)
            one = float(distribution[position, 1])
            split[position, 1] = one * max(0.0, 1 - second.sum())
            split[position, MAX_NORMALIZED] += one * second[0]
    return split
