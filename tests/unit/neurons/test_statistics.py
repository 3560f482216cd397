import numpy as np
import pytest

from worker.neurons.statistics import moments


def sums_of(values):
    return np.stack([(values**power).sum(axis=0) for power in (1, 2, 3, 4)])


def test_moments_equal_their_definitions():
    values = np.random.default_rng(0).normal(0.3, 2, (5000, 7)) ** 3
    found = moments(sums_of(values), len(values))
    centred = values - values.mean(axis=0)
    spread = values.std(axis=0)
    assert found.mean == pytest.approx(values.mean(axis=0), rel=1e-9)
    assert found.variance == pytest.approx(values.var(axis=0), rel=1e-9)
    assert found.skewness == pytest.approx((centred**3).mean(axis=0) / spread**3, rel=1e-6)
    assert found.kurtosis == pytest.approx((centred**4).mean(axis=0) / spread**4, rel=1e-6)


def test_a_constant_neuron_has_no_skewness():
    found = moments(sums_of(np.full((100, 1), -0.17)), 100)
    assert found.variance[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(found.skewness[0])
    assert np.isnan(found.kurtosis[0])


def test_sums_of_parts_merge():
    values = np.random.default_rng(1).normal(size=(300, 3))
    merged = sums_of(values[:100]) + sums_of(values[100:])
    assert moments(merged, 300).kurtosis == pytest.approx(moments(sums_of(values), 300).kurtosis)
