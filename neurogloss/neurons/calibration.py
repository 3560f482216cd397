"""Calibration: maps simulated activations to the scale of the true ones.

The paper's calibration (#sec-algorithm-score), fitted on held-back records. `linear` keeps the
correlation, and gives the share of explained variance a meaning; `percentile` matches the
distributions.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import NeuronScore, Records, pooled, score_neuron, unscored

CalibrationKind = Literal["linear", "percentile"]


@dataclass(frozen=True, slots=True)
class LinearCalibration:
    """a = slope * s + intercept; a slope of 0 means that the simulation is of no use."""

    slope: float
    intercept: float

    def apply(self, simulated: FloatArray) -> FloatArray:
        """Return simulated activations on the scale of the true ones, float64."""
        calibrated: FloatArray = self.slope * simulated.astype(np.float64) + self.intercept
        return calibrated


@dataclass(frozen=True, slots=True)
class PercentileCalibration:
    """Maps a simulated value to the true activation of the same rank.

    `simulated` is strictly increasing and `true` is non-decreasing, both float64 (n_levels,).
    Values between levels are interpolated; values outside get that of the nearer end.
    """

    simulated: FloatArray
    true: FloatArray

    def apply(self, simulated: FloatArray) -> FloatArray:
        """Return simulated activations on the scale of the true ones, float64."""
        calibrated = np.interp(simulated.astype(np.float64), self.simulated, self.true)
        return np.asarray(calibrated, dtype=np.float64)


def fit_linear(true: FloatArray, simulated: FloatArray) -> LinearCalibration:
    """Return the line of least squares through all tokens, with a slope of at least 0.

    A negative slope would turn a simulation that is wrong throughout into a good one.
    """
    x, y = _flat(simulated), _flat(true)
    centred = x - x.mean()
    spread = float((centred * centred).sum())
    slope = float((centred * (y - y.mean())).sum()) / spread if spread > 0 else 0.0
    # A correlation below 0 would otherwise look like a good fit after calibration.
    slope = max(0.0, slope)
    return LinearCalibration(slope, float(y.mean()) - slope * float(x.mean()))


def fit_percentile(true: FloatArray, simulated: FloatArray) -> PercentileCalibration:
    """Return the map between values of equal rank.

    Equal simulated values get the mean of the true values of their ranks.
    """
    ascending = np.sort(_flat(true))
    # Many tokens share a simulated value, often 0. `interp` needs strictly increasing levels, so
    # each level gets the mean over its ranks.
    levels, first, counts = np.unique(
        np.sort(_flat(simulated)), return_index=True, return_counts=True
    )
    return PercentileCalibration(levels, np.add.reduceat(ascending, first) / counts)


@dataclass(frozen=True, slots=True)
class CalibratedScore:
    """The scores of one neuron after a calibration, and the fitted line if that was linear."""

    scores: NeuronScore
    line: LinearCalibration | None = None


def calibrate(
    kind: CalibrationKind,
    held_back: tuple[Records, Records],
    scored: tuple[Records, Records],
    n_top: int,
) -> CalibratedScore:
    """Fit a calibration on held-back records, apply it to the scored records, and score these.

    Args:
        kind: Of the calibration.
        held_back: True and simulated activations of the held-back records.
        scored: True and simulated activations of the scored records, top records first.
        n_top: How many of the scored records are top records.
    """
    true, simulated = map(pooled, held_back)
    # A constant has no slope and no ranks.
    if not true.size or simulated.min() == simulated.max():
        return CalibratedScore(unscored("constant_calibration"))
    if kind == "percentile":
        percentiles = fit_percentile(true, simulated)
        calibrated = [percentiles.apply(record) for record in scored[1]]
        return CalibratedScore(score_neuron(scored[0], calibrated, n_top))
    line = fit_linear(true, simulated)
    if line.slope == 0.0:
        return CalibratedScore(unscored("negative_slope"), line)
    calibrated = [line.apply(record) for record in scored[1]]
    return CalibratedScore(score_neuron(scored[0], calibrated, n_top), line)


def _flat(activations: FloatArray) -> FloatArray:
    return activations.reshape(-1).astype(np.float64)
