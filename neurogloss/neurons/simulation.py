"""What a simulator expects of a neuron on one record."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import unpack
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray


@dataclass(frozen=True, slots=True)
class Simulation:
    """Activations from 0 to 10 on each token of a record.

    `expected` is float64 (n_tokens,). `distribution` is float16 (n_tokens, 11), the probability of
    each number, where the simulator gives any; the sum of a row is the mass that it covers.
    """

    expected: FloatArray
    distribution: FloatArray | None = None


def simulation_of(distribution: FloatArray) -> Simulation:
    """Return the simulation whose expected activations are the means of these distributions.

    A mean is over the numbers alone: what a row lacks to 1 is left out of it.

    Args:
        distribution: float16 (n_tokens, 11), each row with a sum above 0.
    """
    weights = distribution.astype(np.float64)
    expected = weights @ np.arange(MAX_NORMALIZED + 1) / weights.sum(axis=1)
    return Simulation(expected, distribution)


def distribution_at(packed: bytes | None, offsets: Sequence[int]) -> FloatArray:
    """Return the distributions at these places of an answer, float16 (n, 11).

    Raises:
        Malformed: The answer has no log probabilities, or at one of the places no number is among
            the likely tokens.
    """
    if packed is None:
        raise Malformed("the answer has no log probabilities")
    try:
        places = unpack(packed)
    except ValueError as error:
        raise Malformed("the stored log probabilities are damaged") from error
    rows = {int(offset): row for row, offset in enumerate(places["offset"])}
    for position, offset in enumerate(offsets):
        if offset not in rows:
            raise Malformed(f"position {position}: no number is among the likely tokens")
    found: FloatArray = places["probabilities"][[rows[offset] for offset in offsets]]
    covered = found.astype(np.float64).sum(axis=1)
    if not (np.isfinite(covered) & (covered > 0)).all() or (found < 0).any():
        raise Malformed("the stored log probabilities are no probabilities")
    return found
