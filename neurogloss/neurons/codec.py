"""Arrays as the bytes that are stored of them: little-endian, in C order, without a header.

This is the only module of the library that reads arrays from bytes, or parts of different lengths
from one array. The bytes name neither dtype nor shape: `db/tables` documents them for every column.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def pack_array(values: NDArray[Any], dtype: type[np.generic]) -> bytes:
    """Return the stored bytes of an array, whose values are converted to a dtype."""
    return np.ascontiguousarray(values, _stored(np.dtype(dtype))).tobytes()


def unpack_array(
    stored: bytes | bytearray | memoryview, dtype: type[Scalar] | np.dtype[Scalar], *shape: int
) -> NDArray[Scalar]:
    """Return an array as a view of its stored bytes.

    Args:
        stored: As `pack_array` returned it. The array can be written to if this is a bytearray,
            which torch expects of arrays that it shares memory with.
        dtype: Of the values; structured dtypes name the byte order of their fields themselves.
        shape: (n,) unless given; one length may be -1, as in `numpy.reshape`.

    Raises:
        ValueError: The bytes are not a whole number of values, or do not fit the shape.
    """
    values = np.frombuffer(stored, _stored(np.dtype(dtype)))
    return values.reshape(shape) if shape else values


def split_array(values: NDArray[Scalar], lengths: Sequence[int]) -> list[NDArray[Scalar]]:
    """Return the parts of an array (n,) that stand in it one after the other, as views.

    Raises:
        ValueError: The lengths do not add up to that of the array.
    """
    if sum(lengths) != len(values):
        raise ValueError(f"parts of {sum(lengths)} values, in an array of {len(values)}")
    ends = accumulate(lengths)
    return [values[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def padded(rows: Sequence[NDArray[Scalar]], fill: float, width: int = 0) -> NDArray[Scalar]:
    """Return arrays (n,) of different lengths as rows of one, with `fill` after their ends.

    It has `width` columns, or as many as the longest row where that is more.
    """
    lengths = [len(row) for row in rows]
    width = max(width, *lengths)
    if min(lengths) == width:
        return np.stack(rows)
    array = np.full((len(rows), width), fill, rows[0].dtype)
    for place, row in zip(array, rows, strict=True):
        place[: len(row)] = row
    return array


def _stored(dtype: np.dtype[Scalar]) -> np.dtype[Scalar]:
    # Little-endian whatever the machine: stored bytes and exports are read on others.
    return dtype if dtype.fields else dtype.newbyteorder("<")
