import numpy as np
import pytest

from neurogloss.neurons.codec import pack_array, padded, split_array, unpack_array


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.int32, np.int64, np.float16, np.float32, np.float64]
)
def test_an_array_comes_back_as_it_was_stored(dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    found = unpack_array(pack_array(values, dtype), dtype, -1, 3)
    assert found.dtype == dtype
    assert np.array_equal(found, values)


def test_stored_bytes_are_little_endian_rows_of_the_given_dtype():
    columns = np.array([[1.0, 3.0], [2.0, 4.0]]).T
    assert pack_array(columns, np.int32).hex() == "01000000020000000300000004000000"
    assert pack_array(np.array([1.0]), np.float16).hex() == "003c"


def test_an_array_without_a_shape_is_a_row_and_an_empty_one_is_empty():
    assert unpack_array(b"\x01\x00\x00\x00", np.int32).tolist() == [1]
    assert unpack_array(b"", np.float16).shape == (0,)


def test_only_the_view_of_a_bytearray_can_be_written_to():
    assert unpack_array(bytearray(8), np.float32).flags.writeable
    assert not unpack_array(bytes(8), np.float32).flags.writeable


@pytest.mark.parametrize(("stored", "shape"), [(b"123", ()), (b"12345678", (3, -1))])
def test_bytes_that_do_not_fit_are_an_error(stored, shape):
    with pytest.raises(ValueError, match=r"multiple of element size|cannot reshape"):
        unpack_array(stored, np.int32, *shape)


def test_an_array_is_parted_at_any_lengths_and_only_where_they_add_up():
    parts = split_array(np.arange(6), [3, 0, 1, 2])
    assert [part.tolist() for part in parts] == [[0, 1, 2], [], [3], [4, 5]]
    assert split_array(np.arange(0), []) == []
    with pytest.raises(ValueError, match="parts of 5 values, in an array of 6"):
        split_array(np.arange(6), [3, 2])


def test_rows_of_different_lengths_are_padded_after_their_ends():
    rows = [np.array([1, 2], np.int32), np.array([3], np.int32)]
    assert padded(rows, -1).tolist() == [[1, 2], [3, -1]]
    assert padded(rows, 0, width=3).tolist() == [[1, 2, 0], [3, 0, 0]]
    assert padded(rows, 0, width=1).shape == (2, 2)
    assert padded(rows, 0).dtype == np.int32
