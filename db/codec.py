"""Arrays as they are stored: `bytea` values of one dtype, row by row."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True, slots=True)
class PackedArray:
    """How a column of bytes holds an array: its dtype, and for two dimensions its width."""

    dtype: DTypeLike
    width: int | None = None

    def pack(self, array: NDArray[Any]) -> bytes:
        """Return the bytes that are stored of an array."""
        return np.ascontiguousarray(array, dtype=self.dtype).tobytes()

    def unpack(self, stored: bytes | memoryview) -> NDArray[Any]:
        """Return the array, (n,) or (n, width); (n,) too where the rows are not whole.

        Raises:
            ValueError: The bytes are not whole numbers.
        """
        values = np.frombuffer(stored, self.dtype)
        if self.width is None or values.size % self.width:
            return values
        return values.reshape(-1, self.width)


INT32 = PackedArray(np.int32)
FLOAT16 = PackedArray(np.float16)
FLOAT32 = PackedArray(np.float32)
DISTRIBUTION = PackedArray(np.float16, width=11)  # the probabilities of the numbers 0 to 10
