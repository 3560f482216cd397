"""Scores: how well simulated activations match the true ones.

Computed in float64 throughout, so that recomputing a score from stored float16 values on the same
kind of CPU gives the same bits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurogloss.neurons.records import FloatArray


@dataclass(frozen=True, slots=True)
class NeuronScore:
    """Scores of one neuron; each is None where undefined.

    `score`, `score_top` and `score_random` are correlations over all records and over those of one
    kind. `undefined_reason` says why `score` is undefined.
    """

    score: float | None
    score_top: float | None
    score_random: float | None
    rsquared: float | None
    absolute_dev_explained: float | None
    undefined_reason: str | None


def unscored(reason: str) -> NeuronScore:
    """Return scores that are all undefined, for a reason."""
    return NeuronScore(None, None, None, None, None, reason)


def score_neuron(true: FloatArray, simulated: FloatArray, n_top: int) -> NeuronScore:
    """Score one neuron's simulation.

    Args:
        true: Activations, (n_records, n_tokens), top records first.
        simulated: Expected activations of the same shape, on any scale.
        n_top: How many of the records are top records; the others are random records.
    """
    return score_neurons(true[None], simulated[None], n_top)[0]


def score_neurons(true: FloatArray, simulated: FloatArray, n_top: int) -> list[NeuronScore]:
    """Score several neurons; each gets the same bits as from `score_neuron`.

    Args:
        true: Activations, (n_neurons, n_records, n_tokens), top records first.
        simulated: Of the same shape.
        n_top: How many of the records are top records.
    """
    # Pooled over all tokens, as in the paper: a mean over records would weigh a record in which the
    # neuron hardly fires like one in which it fires strongly.
    pooled = _flat(true), _flat(simulated)
    scores = (
        _correlations(*pooled),
        _correlations(_flat(true[:, :n_top]), _flat(simulated[:, :n_top])),
        _correlations(_flat(true[:, n_top:]), _flat(simulated[:, n_top:])),
        _rsquared(*pooled),
        _absolute_dev_explained(*pooled),
    )
    columns = [list(map(_defined, column.tolist())) for column in scores]
    return [NeuronScore(*row) for row in zip(*columns, _undefined_reasons(*pooled), strict=True)]


def correlation_score(true: FloatArray, simulated: FloatArray) -> float | None:
    """Return the Pearson correlation over all tokens, in [-1, 1]; None where one side is constant.

    It is computed over all records at once, which is not the mean of the records' correlations.
    """
    return _of_one(_correlations, true, simulated)


def rsquared_score(true: FloatArray, simulated: FloatArray) -> float | None:
    """Return 1 - mean((a - s)²) / mean(a²), as OpenAI's code does (its paper divides by Var(a)).

    It is meaningful only if the simulation is on the scale of the activations.
    """
    return _of_one(_rsquared, true, simulated)


def absolute_dev_explained_score(true: FloatArray, simulated: FloatArray) -> float | None:
    """Return 1 - mean|a - s| / mean|a|, meaningful under the same condition as `rsquared_score`."""
    return _of_one(_absolute_dev_explained, true, simulated)


def _of_one(
    scores: Callable[[FloatArray, FloatArray], FloatArray], true: FloatArray, simulated: FloatArray
) -> float | None:
    return _defined(float(scores(_flat(true[None]), _flat(simulated[None]))[0]))


def _defined(score: float) -> float | None:
    return None if np.isnan(score) else score


def _flat(activations: FloatArray) -> FloatArray:
    """Return activations as float64 (n_neurons, n), with all tokens of a neuron in one row."""
    return activations.reshape(len(activations), -1).astype(np.float64)


def _is_constant(activations: FloatArray) -> NDArray[np.bool_]:
    if not activations.shape[1]:
        return np.ones(len(activations), dtype=bool)
    highest, lowest = activations.max(axis=1), activations.min(axis=1)
    return np.asarray(highest == lowest, dtype=bool)


def _undefined_reasons(true: FloatArray, simulated: FloatArray) -> list[str | None]:
    if not true.shape[1]:
        return ["no_records"] * len(true)
    reasons = np.where(_is_constant(simulated), "constant_simulation", "")
    # Set last, so that it wins where both sides are constant: no explanation could score then.
    reasons = np.where(_is_constant(true), "constant_activations", reasons)
    return [reason or None for reason in reasons.tolist()]


def _correlations(true: FloatArray, simulated: FloatArray) -> FloatArray:
    """Return the correlation of each row, (n_neurons,), NaN where undefined."""
    # Rounding can leave a constant row with a tiny variance, so constancy is tested by itself.
    undefined = _is_constant(true) | _is_constant(simulated)
    x, y = _centred(true), _centred(simulated)
    ratio = _ratio((x * y).sum(axis=1), np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1)))
    return np.where(undefined, np.nan, np.clip(ratio, -1.0, 1.0))


def _centred(activations: FloatArray) -> FloatArray:
    means = activations.sum(axis=1, keepdims=True) / max(1, activations.shape[1])
    centred: FloatArray = activations - means
    return centred


def _rsquared(true: FloatArray, simulated: FloatArray) -> FloatArray:
    return 1 - _ratio(((true - simulated) ** 2).sum(axis=1), (true**2).sum(axis=1))


def _absolute_dev_explained(true: FloatArray, simulated: FloatArray) -> FloatArray:
    return 1 - _ratio(np.abs(true - simulated).sum(axis=1), np.abs(true).sum(axis=1))


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return numerator / denominator, NaN where the denominator is 0."""
    ratio: FloatArray = np.full_like(numerator, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator != 0)
    return ratio
