"""Simulations: predicted activations of a neuron on one record, from 0 to 10."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import Distributions, unpack_distributions
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray


@dataclass(frozen=True, slots=True)
class Simulation:
    """Predicted activations on the tokens of a record, from 0 to 10.

    `expected` is float64 (n_tokens,). `distribution`, float16 (n_tokens, 11), is the probability of
    each number among the numbers; None if the simulator gives none. A row is all 0, and expects 0,
    where no number was among the likely tokens. `covered` says how far that can be trusted: the
    mean probability, over the tokens, that the model gave to all numbers together.
    """

    expected: FloatArray
    distribution: FloatArray | None = None
    covered: float | None = None


def simulation_of(places: Distributions) -> Simulation:
    """Return the simulation with the expected values of distributions, one for each token."""
    weights = places["probabilities"].astype(np.float64)
    sums = weights.sum(axis=1)
    sums[sums == 0] = 1  # as in the paper: 0 is expected where no number is among the likely tokens
    expected = weights @ np.arange(MAX_NORMALIZED + 1) / sums
    return Simulation(expected, places["probabilities"], float(places["covered"].mean()))


def distribution_at(packed: bytes | None, offsets: Sequence[int]) -> Distributions:
    """Return the distributions at offsets of an answer, (n,).

    Raises:
        Malformed: The answer has no log probabilities at all, or at one of the offsets.
    """
    places = read_distributions(packed)
    row_of = {int(offset): row for row, offset in enumerate(places["offset"])}
    for position, offset in enumerate(offsets):
        if offset not in row_of:
            raise Malformed(f"position {position}: the answer has no log probabilities there")
    return places[[row_of[offset] for offset in offsets]]


def read_distributions(packed: bytes | None) -> Distributions:
    """Return the distributions of an answer, at all places that are kept of it.

    Raises:
        Malformed: The answer has none, or what is stored are no probabilities.
    """
    if packed is None:
        raise Malformed("the answer has no log probabilities")
    try:
        places = unpack_distributions(packed)
    except ValueError as error:
        raise Malformed("the stored log probabilities are damaged") from error
    numbers = np.column_stack([places["covered"], places["probabilities"]])
    if not np.isfinite(numbers).all() or (numbers < 0).any():
        raise Malformed("the stored log probabilities are no probabilities")
    return places
