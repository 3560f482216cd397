"""Moments of a neuron's activations, from mergeable sums of powers."""

from typing import NamedTuple

import numpy as np

from worker.neurons.records import FloatArray


class Moments(NamedTuple):
    """Each float64 of shape (n_neurons,). Skewness and kurtosis are NaN where variance is 0.

    Kurtosis is the fourth standardised moment: 3 for a normal distribution.
    """

    mean: FloatArray
    variance: FloatArray
    skewness: FloatArray
    kurtosis: FloatArray


def moments(sums: FloatArray, n: int) -> Moments:
    """Return moments over `n` tokens from float64 (4, n_neurons) sums of x, x², x³ and x⁴."""
    m1, m2, m3, m4 = sums / n
    variance = np.maximum(m2 - m1**2, 0.0)
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    with np.errstate(divide="ignore", invalid="ignore"):
        constant = variance <= 1e-12 * np.maximum(m2, 1e-300)
        skewness = np.where(constant, np.nan, third / variance**1.5)
        kurtosis = np.where(constant, np.nan, fourth / variance**2)
    return Moments(m1, variance, skewness, kurtosis)
