"""Compare scores of the same neurons in two runs. Pure functions."""

from dataclasses import dataclass

import numpy as np

from neurogloss.neurons.records import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class PairedScores:
    """Statistics of the `n` neurons that have a score in both runs, a and b.

    Attributes:
        n: The number of these neurons.
        mean_a: The mean score in a.
        mean_b: The mean score in b.
        difference: The mean of b - a.
        standard_error: The standard error of `difference`; None for fewer than two neurons.
        a_higher: The number of neurons with a higher score in a.
        b_higher: The number of neurons with a higher score in b.
        correlation: Pearson's correlation of the scores; None where undefined.
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
    """Compare scores, (n_neurons,) each; NaN where a neuron has no score."""
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
