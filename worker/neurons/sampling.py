"""Seeded choices that need no memory: which excerpts a neuron draws, and in which order.

Every worker computes them alone, for any range of excerpts, and all agree.
"""

from typing import Any

import numpy as np

from worker.neurons.records import IntArray

_LOW_32 = 0xFFFFFFFF
_ROUNDS = 4


def mix(values: Any) -> Any:
    """Scramble integers in 0 .. 2^32 - 1, one to one ("lowbias32" of C. Wellons).

    Written with operators only, so that it takes int64 arrays of numpy and of torch alike.
    """
    values = values ^ (values >> 16)
    values = (values * 0x7FEB352D) & _LOW_32
    values = values ^ (values >> 15)
    values = (values * 0x846CA68B) & _LOW_32
    return values ^ (values >> 16)


def neuron_keys(seed: int, layer: int, neurons: IntArray) -> IntArray:
    """Return a 32-bit key, as int64 of shape (n_neurons,), that names each neuron's own draws."""
    start = mix(np.int64((seed * 0x9E3779B1 + layer) & _LOW_32))
    keys: IntArray = mix((start + neurons.astype(np.int64)) & _LOW_32)
    return keys


def priorities(keys: Any, excerpts: Any) -> Any:
    """Return each neuron's 31-bit priority of each excerpt; the lowest is drawn first.

    Args:
        keys: int64 of shape (n_neurons,), from `neuron_keys`; numpy or torch.
        excerpts: int64 of shape (n_excerpts, 1), of the same library.

    Returns:
        int64 of shape (n_excerpts, n_neurons).
    """
    return mix((mix(excerpts & _LOW_32) + keys) & _LOW_32) >> 1


def random_excerpts(keys: IntArray, n_excerpts: int, count: int) -> IntArray:
    """Draw `count` distinct excerpts for each neuron, independently.

    A draw is the beginning of a pseudorandom permutation of 0 .. n_excerpts - 1: a Feistel network
    on the next even number of bits, walked until it falls within the range.

    Returns:
        int64 of shape (n_neurons, min(count, n_excerpts)), in the order drawn.
    """
    half = max(1, ((n_excerpts - 1).bit_length() + 1) // 2)
    count = min(count, n_excerpts)
    drawn: IntArray = np.broadcast_to(np.arange(count), (len(keys), count))
    drawn = _permute(drawn, keys[:, None], half)
    while (outside := drawn >= n_excerpts).any():
        drawn = np.where(outside, _permute(drawn, keys[:, None], half), drawn)
    return drawn


def _permute(values: IntArray, keys: IntArray, half: int) -> IntArray:
    low = (1 << half) - 1
    left, right = values >> half, values & low
    for number in range(_ROUNDS):
        left, right = right, left ^ (mix((right + mix(keys + number)) & _LOW_32) & low)
    return (left << half) | right
