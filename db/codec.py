"""The encoding of arrays in columns of bytes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurogloss.neurons.codec import pack_array, unpack_array
from neurogloss.neurons.records import MAX_NORMALIZED


@dataclass(frozen=True, slots=True)
class PackedArray:
    """The encoding of an array in bytes: its dtype, and for two dimensions its width."""

    dtype: type[np.generic]
    width: int | None = None

    def pack(self, array: NDArray[Any]) -> bytes:
        """Return the bytes that are stored of an array."""
        return pack_array(array, self.dtype)

    def unpack(self, stored: bytes | memoryview) -> NDArray[Any]:
        """Return the array, (n,) or (n, width); (n,) too where the rows are not whole.

        Raises:
            ValueError: The bytes are not whole numbers.
        """
        values = unpack_array(stored, self.dtype)
        if self.width is None or values.size % self.width:
            return values
        return values.reshape(-1, self.width)


INT32 = PackedArray(np.int32)
FLOAT16 = PackedArray(np.float16)
FLOAT32 = PackedArray(np.float32)
DISTRIBUTION = PackedArray(np.float16, width=MAX_NORMALIZED + 1)
