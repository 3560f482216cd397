"""Float16 numbers as exports write them."""

import json
from decimal import Decimal

import numpy as np
import orjson

from orchestrator.datasets.digits import shortest

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = EVERY[np.isfinite(EVERY)]


def written(values):
    return orjson.dumps(shortest(values), option=orjson.OPT_SERIALIZE_NUMPY)


def test_every_float16_is_read_back_with_the_same_bits():
    found = np.array(json.loads(written(FINITE)))
    assert found.astype(np.float16).tobytes() == FINITE.tobytes()


def test_no_float16_is_written_with_more_digits_than_it_needs():
    assert written(np.array([0.1, 1 / 3, 3, 1000.5], np.float16)) == b"[0.1,0.3333,3.0,1000.5]"
    for number in np.random.default_rng(0).choice(FINITE, 500):
        shown = Decimal(repr(float(shortest(number[None])[0])))
        places = len(shown.normalize().as_tuple().digits)
        shorter = np.float16(f"{float(number):.{max(0, places - 2)}e}")
        assert places == 1 or shorter != number


def test_what_is_no_number_is_null():
    assert written(np.array([np.nan, np.inf, -np.inf], np.float16)) == b"[null,null,null]"


def test_shapes_and_views_are_kept():
    values = np.arange(12, dtype=np.float16).reshape(3, 4)
    assert np.array_equal(shortest(values[:, ::2]), values[:, ::2])
