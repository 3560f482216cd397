"""Scores of the same neurons in two runs. Pure."""

from dataclasses import dataclass

import numpy as np

from neurogloss.neurons.records import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class PairedScores:
    """What two runs, a and b, score where both do.

    Means and the difference b - a are over the `n` neurons that have a score in both; of these,
    `a_higher` and `b_higher` say how many are higher in one. `standard_error` is of the mean
    difference, None of fewer than two. `correlation` is between the scores, None where undefined.
    """

    n: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    standard_error: float | None
    a_higher: int
    b_higher: int
    correlation: float | None


def paired(a: FloatArray, b: FloatArray) -> PairedScores:
    """Compare scores, (n_neurons,) each; NaN where a neuron has none."""
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    n, difference = len(a), b - a
    varies = n > 1 and np.ptp(a) > 0 and np.ptp(b) > 0
    return PairedScores(
        n=n,
        mean_a=float(a.mean()) if n else None,
        mean_b=float(b.mean()) if n else None,
        difference=float(difference.mean()) if n else None,
        standard_error=float(difference.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
        a_higher=int((a > b).sum()),
        b_higher=int((b > a).sum()),
        correlation=float(np.corrcoef(a, b)[0, 1]) if varies else None,
    )


def by_layer(layers: IntArray, a: FloatArray, b: FloatArray) -> dict[int, PairedScores]:
    """Compare scores layer by layer; all arrays are (n_neurons,)."""
    return {
        int(layer): paired(a[layers == layer], b[layers == layer]) for layer in np.unique(layers)
    }
