"""Arrays as stored bytes: there and back, and what is no array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from db.codec import DISTRIBUTION, FLOAT16, FLOAT32, INT32, PackedArray

DTYPES = [np.int32, np.float16, np.float32, np.float64, np.int64, np.bool_]


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=1, min_side=0))
    )
)
def test_an_array_comes_back_bit_for_bit(array):
    packed = PackedArray(array.dtype)
    stored = packed.pack(array)
    for given_as in (stored, memoryview(stored)):
        back = packed.unpack(given_as)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.tobytes() == array.tobytes()


@given(st.integers(0, 5), st.integers(1, 12))
def test_rows_of_the_width_come_back_as_rows(n, width):
    array = np.arange(n * width, dtype=np.float32).reshape(n, width)
    back = PackedArray(np.float32, width).unpack(PackedArray(np.float32, width).pack(array))
    assert back.shape == (n, width)
    assert (back == array).all()


def test_bytes_are_row_by_row_however_the_array_lies_in_memory():
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert INT32.pack(array.T) == np.array([0, 3, 1, 4, 2, 5], np.int32).tobytes()
    assert INT32.pack(np.arange(8, dtype=np.int32)[::2]) == b"".join(
        n.to_bytes(4, "little") for n in (0, 2, 4, 6)
    )


def test_values_are_stored_in_the_type_of_the_column():
    assert FLOAT16.pack(np.array([1.0, 1 / 3])) == np.array([1.0, 1 / 3], np.float16).tobytes()
    assert FLOAT32.pack(np.array([0.1])) == np.float32(0.1).tobytes()


@pytest.mark.parametrize("packed", [INT32, FLOAT16, FLOAT32, DISTRIBUTION])
@pytest.mark.parametrize("n_bytes", [1, 3, 23])
def test_bytes_that_are_not_whole_numbers_are_refused(packed, n_bytes):
    with pytest.raises(ValueError):
        packed.unpack(b"\0" * n_bytes)


def test_rows_that_are_not_whole_come_back_flat():
    assert DISTRIBUTION.unpack(b"\0" * 44).shape == (2, 11)
    assert DISTRIBUTION.unpack(b"\0" * 46).shape == (23,)
    assert DISTRIBUTION.unpack(b"").shape == (0, 11)


def test_what_is_unpacked_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        INT32.unpack(b"\0" * 8)[0] = 1
