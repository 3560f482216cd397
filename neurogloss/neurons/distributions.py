"""What is kept of a simulator's log probabilities: where it could have written which number.

Two hundred kilobytes of JSON become some two: of every place in a text where one of the numbers 0
to 10 was among the likely next tokens, the place and the probability of each number. That is enough
to read a simulation from, and to read it again with a better parser.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from neurogloss.neurons.records import MAX_NORMALIZED

UNKNOWN = "unknown"
"""What a prompt says where a number is asked for, if the answer echoes the prompt."""

PLACE = np.dtype([("offset", "<i4"), ("probabilities", "<f2", (MAX_NORMALIZED + 1,))])
Places = NDArray[np.void]


def pack(places: Iterable[tuple[int, Mapping[int, float]]]) -> bytes:
    """Return places as bytes.

    Args:
        places: Characters from the start of the text (of the prompt, where the answer echoes it),
            and the probability of each number there.
    """
    rows = []
    for offset, found in places:
        rows.append((offset, [found.get(number, 0.0) for number in range(MAX_NORMALIZED + 1)]))
    return np.array(rows, dtype=PLACE).tobytes()


def unpack(packed: bytes) -> Places:
    """Return a structured array of shape (n_places,) with `offset` and `probabilities` (11,).

    Raises:
        ValueError: The bytes are no places.
    """
    return np.frombuffer(packed, dtype=PLACE)
