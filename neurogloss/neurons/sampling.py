"""Random numbers without state: the priority of each excerpt for each neuron, by hashing.

Any worker computes them for any range of excerpts by itself, and all workers agree.
"""

from typing import Any

import numpy as np

from neurogloss.neurons.records import IntArray

# Hashes have 32 bits in int64, since torch's unsigned integers lack most operators.
_LOW_32 = 0xFFFFFFFF


def mix(values: Any) -> Any:
    """Hash integers from 0 to 2^32 - 1, one to one ("lowbias32" by C. Wellons).

    It uses operators only, so that it takes int64 arrays of numpy and of torch alike.
    """
    values = values ^ (values >> 16)
    values = (values * 0x7FEB352D) & _LOW_32
    values = values ^ (values >> 15)
    values = (values * 0x846CA68B) & _LOW_32
    return values ^ (values >> 16)


def neuron_keys(seed: int, layer: int, neurons: IntArray) -> IntArray:
    """Return the key of each neuron's draws: 32 bits, as int64 (n_neurons,)."""
    # A prime near 2^32 / golden ratio: neighbouring seeds get far apart starts.
    start = mix(np.array([(seed * 0x9E3779B1 + layer) & _LOW_32]))
    keys: IntArray = mix((start + neurons.astype(np.int64)) & _LOW_32)
    return keys


def priorities(keys: Any, excerpts: Any) -> Any:
    """Return the priority of each excerpt for each neuron, int64; the lowest is drawn first.

    Args:
        keys: int64, from `neuron_keys`; numpy or torch.
        excerpts: int64, of the same library, of a shape that broadcasts with that of `keys`.
    """
    # 30 bits: `selection.draw_keys` adds one bit above them and shifts them by 32.
    return mix((mix(excerpts & _LOW_32) + keys) & _LOW_32) >> 2
