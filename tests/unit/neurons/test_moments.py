import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurogloss.neurons.moments import TileSums, merge_halves, moments_of, sums_about_mean

TILE = 50


def block(tile, values, shift=0.1):
    powers = np.stack([((values - shift) ** power).sum(axis=0) for power in (1, 2, 3, 4)])
    sums = np.stack(sums_about_mean(np.full(values.shape[1], shift), powers, len(values)))
    return TileSums(tile, 1, len(values), sums)


def blocks_of(values):
    starts = range(0, len(values), TILE)
    return [block(start // TILE, values[start : start + TILE]) for start in starts]


def test_moments_equal_their_definitions():
    values = np.random.default_rng(0).normal(0.3, 2, (5010, 7)) ** 3
    found, n = moments_of(blocks_of(values))
    centred = values - values.mean(axis=0)
    spread = values.std(axis=0)
    assert n == 5010
    assert found.mean == pytest.approx(values.mean(axis=0), rel=1e-9)
    assert found.variance == pytest.approx(values.var(axis=0), rel=1e-9)
    assert found.skewness == pytest.approx((centred**3).mean(axis=0) / spread**3, rel=1e-9)
    assert found.kurtosis == pytest.approx((centred**4).mean(axis=0) / spread**4, rel=1e-9)


def test_nothing_is_lost_where_the_mean_is_far_from_zero():
    values = np.random.default_rng(0).normal(1e4, 1, (1000, 1))
    found, _ = moments_of([block(0, values[:500], 1e4), block(1, values[500:], 1e4)])
    assert found.variance == pytest.approx(values.var(axis=0), rel=1e-9)


def test_a_constant_neuron_has_no_skewness():
    found, _ = moments_of([block(n, np.full((100, 1), -0.5), shift=-0.5) for n in range(3)])
    assert found.variance[0] == 0
    assert np.isnan(found.skewness[0])
    assert np.isnan(found.kurtosis[0])


@settings(max_examples=40)
@given(st.integers(1, 23), st.randoms(use_true_random=False))
def test_whoever_merges_first_the_bits_are_the_same(n_tiles, chance):
    values = np.random.default_rng(n_tiles).normal(size=(n_tiles * TILE - 3, 2))
    blocks = blocks_of(values)
    expected = moments_of(blocks)
    chance.shuffle(blocks)
    while len(blocks) > 1 and chance.random() < 0.9:
        some = [blocks.pop() for _ in range(min(len(blocks), chance.randint(1, 4)))]
        blocks += merge_halves(some)
        chance.shuffle(blocks)
    found = moments_of(blocks)
    assert found[1] == expected[1]
    for one, other in zip(found[0], expected[0], strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("tiles", [(0, 2), (0, 1, 1), (0, 0)])
def test_missing_and_doubled_tiles_are_an_error(tiles):
    with pytest.raises(ValueError, match="missing or doubled"):
        moments_of([block(tile, np.ones((TILE, 1))) for tile in tiles])
