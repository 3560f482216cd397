"""Simulations: predicted activations of a neuron on one record, from 0 to 10."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import unpack_distributions
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray


@dataclass(frozen=True, slots=True)
class Simulation:
    """Predicted activations on the tokens of a record, from 0 to 10.

    `expected` is float64 (n_tokens,). `distribution`, float16 (n_tokens, 11), is the probability of
    each number; None if the simulator gives none. A row adds up to less than 1 where the model
    expected other tokens than numbers too.
    """

    expected: FloatArray
    distribution: FloatArray | None = None


def simulation_of(distribution: FloatArray) -> Simulation:
    """Return the simulation with the expected values of distributions.

    Rows are normalised first, so that the expected value is over the numbers alone.

    Args:
        distribution: float16 (n_tokens, 11), each row with a sum above 0.
    """
    weights = distribution.astype(np.float64)
    expected = weights @ np.arange(MAX_NORMALIZED + 1) / weights.sum(axis=1)
    return Simulation(expected, distribution)


def distribution_at(packed: bytes | None, offsets: Sequence[int]) -> FloatArray:
    """Return the distributions at offsets of an answer, float16 (n, 11).

    Raises:
        Malformed: The answer has no log probabilities, or no number is among the likely tokens at
            one of the offsets.
    """
    if packed is None:
        raise Malformed("the answer has no log probabilities")
    try:
        places = unpack_distributions(packed)
    except ValueError as error:
        raise Malformed("the stored log probabilities are damaged") from error
    row_of = {int(offset): row for row, offset in enumerate(places["offset"])}
    for position, offset in enumerate(offsets):
        if offset not in row_of:
            raise Malformed(f"position {position}: no number is among the likely tokens")
    probabilities: FloatArray = places["probabilities"][[row_of[offset] for offset in offsets]]
    covered = probabilities.astype(np.float64).sum(axis=1)
    if not (np.isfinite(covered) & (covered > 0)).all() or (probabilities < 0).any():
        raise Malformed("the stored log probabilities are no probabilities")
    return probabilities
