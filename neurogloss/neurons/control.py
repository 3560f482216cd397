"""Controls: what scores are worth, by simulating neurons from the explanations of others.

A simulator that does not listen to explanations scores as well with the wrong one.
"""

import math
from collections.abc import Collection, Sequence

import numpy as np

# Neurons that are controlled at least, if there are as many: the alarm compares means to within two
# standard errors, which shrink only with the square root of this number.
FEWEST = 30
_DRAWN, _ORDERED = 2**31, 2**31 + 1  # beside a seed: draws for other ends are of its layers


def n_drawn(n: int, share: float) -> int:
    """Return how many of `n` neurons are controlled."""
    return min(n, max(FEWEST, math.ceil(share * n)))


def draw_controlled(seed: int, n: int, share: float) -> list[int]:
    """Return the places of the neurons to control among all `n` of a run, ascending."""
    drawn = np.random.default_rng([seed, _DRAWN]).choice(n, n_drawn(n, share), replace=False)
    return sorted(drawn.tolist())


def in_order(seed: int, layer: int, neurons: Sequence[int]) -> list[int]:
    """Return the neurons of a layer in the seeded order in which partners follow each other."""
    shuffled = np.random.default_rng([seed, _ORDERED, layer]).permutation(sorted(neurons))
    return [int(neuron) for neuron in shuffled]


def partner_of(neuron: int, ordered: Sequence[int], explained: Collection[int]) -> int | None:
    """Return the next neuron in an order that has an explanation; after the last, the first.

    None if no other neuron has one.
    """
    place = ordered.index(neuron)
    following = [*ordered[place + 1 :], *ordered[:place]]
    return next((other for other in following if other in explained), None)
