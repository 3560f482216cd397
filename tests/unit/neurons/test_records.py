import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurogloss.neurons.records import ActivationRecord, normalize
from neurogloss.neurons.splits import Split, random_slice, top_slice


def test_a_record_has_an_activation_for_every_token():
    with pytest.raises(ValueError, match="2 tokens, 1 activations"):
        ActivationRecord(("a", "b"), (1.0,))


@pytest.mark.parametrize(
    ("activations", "highest", "expected"),
    [
        pytest.param([5.0], 5.0, [10], id="the maximum is 10"),
        pytest.param([4.999], 5.0, [9], id="just below it is 9, rounded down"),
        pytest.param([-0.17, 0.0], 5.0, [0, 0], id="negative is resting"),
        pytest.param([7.0], 5.0, [10], id="above the maximum stays 10"),
        pytest.param([0.0999], 1.0, [0], id="under a tenth is 0"),
        pytest.param([-0.1, -0.2], -0.1, [0, 0], id="a dead neuron is all 0"),
    ],
)
def test_activations_are_normalized_to_tenths_of_the_highest(activations, highest, expected):
    assert normalize(activations, highest) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_normalize_refuses_what_is_no_number(value):
    with pytest.raises(ValueError, match="cannot normalize"):
        normalize([1.0, value], 5.0)


@given(st.lists(st.floats(-10, 60_000), min_size=1), st.floats(1e-3, 60_000))
def test_normalized_activations_are_integers_from_0_to_10(activations, highest):
    assert set(normalize(activations, highest)) <= set(range(11))


def test_splits_of_top_records_interleave():
    assert list(range(20))[top_slice(Split.TRAIN, 5)] == [0, 4, 8, 12, 16]
    assert list(range(20))[top_slice(Split.VALID, 5)] == [2, 6, 10, 14, 18]


def test_splits_of_random_records_interleave():
    assert list(range(20))[random_slice(Split.VALID, 5)] == [1, 4, 7, 10, 13]


def test_no_random_record_is_in_the_train_split():
    with pytest.raises(ValueError, match="train"):
        random_slice(Split.TRAIN, 5)


@given(st.integers(1, 9))
def test_splits_cover_all_records_once(per_split):
    places = list(range(4 * per_split))
    dealt = [p for split in Split for p in places[top_slice(split, per_split)]]
    assert sorted(dealt) == places
