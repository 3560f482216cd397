"""Bringing simulations to the scale of the activations, by what held-back records show.

The paper's calibration (#sec-algorithm-score). `linear` keeps the correlation and makes the share
of explained variance mean something; `percentile` makes the distributions alike.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import NeuronScore, score_neuron, unscored

CalibrationKind = Literal["linear", "percentile"]


@dataclass(frozen=True, slots=True)
class Linear:
    """a = slope * s + intercept. Without a positive slope the simulation says nothing of use."""

    slope: float
    intercept: float

    def apply(self, simulated: FloatArray) -> FloatArray:
        """Return simulated activations on the scale of the true ones, float64."""
        calibrated: FloatArray = self.slope * simulated.astype(np.float64) + self.intercept
        return calibrated


@dataclass(frozen=True, slots=True)
class Percentile:
    """From a simulated value to the activation that is as high among the true ones.

    `simulated` rises, and `true`, of the same shape (n_levels,), does not fall. Between levels it
    is interpolated; what lies outside gets the value of the end.
    """

    simulated: FloatArray
    true: FloatArray

    def apply(self, simulated: FloatArray) -> FloatArray:
        """Return simulated activations on the scale of the true ones, float64."""
        found = np.interp(simulated.astype(np.float64), self.simulated, self.true)
        return np.asarray(found, dtype=np.float64)


def fit_linear(true: FloatArray, simulated: FloatArray) -> Linear:
    """Return the line of least squares through all tokens; its slope is 0 where it would fall.

    A falling line would make the best of a simulation that is wrong throughout.
    """
    x, y = _flat(simulated), _flat(true)
    centred = x - x.mean()
    spread = float((centred * centred).sum())
    slope = float((centred * (y - y.mean())).sum()) / spread if spread > 0 else 0.0
    slope = max(0.0, slope)
    return Linear(slope, float(y.mean()) - slope * float(x.mean()))


def fit_percentile(true: FloatArray, simulated: FloatArray) -> Percentile:
    """Return what matches the two distributions; equal simulated values share a mean."""
    ascending = np.sort(_flat(true))
    levels, first, counts = np.unique(
        np.sort(_flat(simulated)), return_index=True, return_counts=True
    )
    return Percentile(levels, np.add.reduceat(ascending, first) / counts)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Scores after a calibration. `line` is that of `linear`."""

    scores: NeuronScore
    line: Linear | None = None


def calibrate(
    kind: CalibrationKind,
    held_back: tuple[FloatArray, FloatArray],
    scored: tuple[FloatArray, FloatArray],
    n_top: int,
) -> Calibrated:
    """Fit a calibration on held-back records, and score the others by it.

    Args:
        kind: Of the calibration.
        held_back: True and simulated activations, (n_records, n_tokens) each.
        scored: The same of the scored records, top records first.
        n_top: How many of these are top records.
    """
    true, simulated = held_back
    if not true.size or simulated.min() == simulated.max():
        return Calibrated(unscored("constant_calibration"))
    if kind == "percentile":
        calibrated = fit_percentile(true, simulated).apply(scored[1])
        return Calibrated(score_neuron(scored[0], calibrated, n_top))
    line = fit_linear(true, simulated)
    if line.slope == 0.0:
        return Calibrated(unscored("negative_slope"), line)
    return Calibrated(score_neuron(scored[0], line.apply(scored[1]), n_top), line)


def _flat(activations: FloatArray) -> FloatArray:
    return activations.reshape(-1).astype(np.float64)
