"""Probabilities of the numbers 0 to 10 at places of a text, kept from a model's log probabilities.

An answer with log probabilities is some 200 kB of JSON. Of it we keep about 2 kB: each place where
one of the numbers was among the likely next tokens, with the probability of every number there.
A simulation is read from that, and can be read again by a better parser.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from neurogloss.neurons.codec import unpack_array
from neurogloss.neurons.records import MAX_NORMALIZED

UNKNOWN = "unknown"
"""The word in place of each number that is asked for, in prompts whose answer echoes the prompt."""

# Float16 has three significant digits, at half the size of float32.
_PLACE = np.dtype([("offset", "<i4"), ("probabilities", "<f2", (MAX_NORMALIZED + 1,))])

Distributions = NDArray[np.void]
"""Structured array (n_places,): `offset` int32, `probabilities` float16 (11,)."""


def pack_distributions(places: Iterable[tuple[int, Mapping[int, float]]]) -> bytes:
    """Return the stored bytes of distributions.

    Args:
        places: For each place its offset, in characters from the start of the text (of the prompt,
            where the answer echoes it), and the probability of each number; those left out are 0.
    """
    rows = [
        (offset, [probabilities.get(number, 0.0) for number in range(MAX_NORMALIZED + 1)])
        for offset, probabilities in places
    ]
    return np.array(rows, dtype=_PLACE).tobytes()


def unpack_distributions(packed: bytes) -> Distributions:
    """Return distributions from their stored bytes.

    Raises:
        ValueError: The bytes are not a whole number of places.
    """
    return unpack_array(packed, _PLACE)
