"""Float16 numbers in their shortest digits: 0.1, where the nearest float16 is 0.0999755859375."""

from functools import cache

import numpy as np

from neurogloss.neurons.records import FloatArray


def shortest(values: FloatArray) -> FloatArray:
    """Return the float64 of the fewest digits that rounds to each float16, in the same shape.

    JSON writes a float64 in its own shortest digits, which are then those of the float16.
    """
    numbers: FloatArray = _table()[np.ascontiguousarray(values, np.float16).view(np.uint16)]
    return numbers


@cache
def _table() -> FloatArray:
    """Return the numbers by the bits of the float16, (65,536,)."""
    # numpy writes a float16 in its fewest digits, but slowly: all 65,536 once, then only look-ups.
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    return every.astype(np.str_).astype(np.float64)
