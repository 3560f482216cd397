"""Probabilities of the numbers 0 to 10 at places of a text, kept from a model's log probabilities.

An answer with log probabilities is some 200 kB of JSON. Of it we keep about 2 kB: each place where
a number stands or is asked for, with the probability of every number there. A simulation is read
from that, and can be read again by a better parser.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from neurogloss.neurons.codec import unpack_array
from neurogloss.neurons.records import MAX_NORMALIZED

UNKNOWN = "unknown"
"""The word in place of each number that is asked for, in prompts whose answer echoes the prompt."""

# Float16 has three significant digits, at half the size of float32.
_PROBABILITIES = ("probabilities", "<f2", (MAX_NORMALIZED + 1,))
_PLACE = np.dtype([("offset", "<i4"), ("covered", "<f4"), _PROBABILITIES])
_MARK = b"\xff\xff\xff\xff"  # an offset of -1, which no place has
# What was stored before places began with the mark: `probabilities` that add up to `covered`.
_EARLIER_PLACE = np.dtype([("offset", "<i4"), _PROBABILITIES])

Distributions = NDArray[np.void]
"""Structured array (n_places,): `offset` int32, `covered` float32, `probabilities` float16 (11,).

`covered` is the probability of all numbers together. `probabilities` are those of each of them
among the numbers: they add up to 1, or are all 0 where no number is among the likely tokens.
"""


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
    if not rows:
        return b""
    offsets, weights = zip(*rows, strict=True)
    return _MARK + _normalized(np.array(offsets), np.array(weights)).tobytes()


def unpack_distributions(packed: bytes) -> Distributions:
    """Return distributions from their stored bytes.

    Raises:
        ValueError: The bytes are not a whole number of places.
    """
    if packed.startswith(_MARK):
        return unpack_array(packed.removeprefix(_MARK), _PLACE)
    earlier = unpack_array(packed, _EARLIER_PLACE)
    return _normalized(earlier["offset"], earlier["probabilities"].astype(np.float64))


def _normalized(offsets: NDArray[np.integer], weights: NDArray[np.float64]) -> Distributions:
    """Return places from the probabilities of the numbers among all tokens, (n_places, 11)."""
    places = np.zeros(len(offsets), _PLACE)
    places["offset"] = offsets
    with np.errstate(invalid="ignore", over="ignore"):  # what is no probability is refused later
        covered = weights.sum(axis=1)
        places["covered"] = covered
        np.divide(
            weights,
            covered[:, None],
            out=places["probabilities"],
            where=(covered != 0)[:, None],
            casting="unsafe",
        )
    return places
