"""Seeded choices that need no memory: which excerpts a neuron draws, and in which order.

Every worker computes them alone, for any range of excerpts, and all agree.
"""

from typing import Any

import numpy as np

from neurogloss.neurons.records import IntArray

_LOW_32 = 0xFFFFFFFF


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
    start = mix(np.array([(seed * 0x9E3779B1 + layer) & _LOW_32]))
    keys: IntArray = mix((start + neurons.astype(np.int64)) & _LOW_32)
    return keys


def priorities(keys: Any, excerpts: Any) -> Any:
    """Return each neuron's 30-bit priority of each excerpt; the lowest is drawn first.

    Args:
        keys: int64, from `neuron_keys`; numpy or torch.
        excerpts: int64, of the same library, of a shape that broadcasts with that of `keys`.
    """
    return mix((mix(excerpts & _LOW_32) + keys) & _LOW_32) >> 2
