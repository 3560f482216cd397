"""How well simulated activations match the true ones."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurogloss.neurons.records import FloatArray


@dataclass(frozen=True, slots=True)
class NeuronScore:
    """Scores of one neuron; each None where undefined, for the reason named if it is `score`."""

    score: float | None
    score_top: float | None
    score_random: float | None
    rsquared: float | None
    absolute_dev_explained: float | None
    undefined_reason: str | None


def unscored(reason: str) -> NeuronScore:
    """Return what stands for the scores of a neuron that cannot be explained."""
    return NeuronScore(None, None, None, None, None, reason)


def score_neuron(true: FloatArray, simulated: FloatArray, n_top: int) -> NeuronScore:
    """Score a simulation over all tokens of all records at once, and over each kind alone.

    Args:
        true: Activations of shape (n_records, n_tokens), top records first.
        simulated: Expected activations of the same shape, on any scale.
        n_top: How many of the records are top records; the others are random records.
    """
    return score_neurons(true[None], simulated[None], n_top)[0]


def score_neurons(true: FloatArray, simulated: FloatArray, n_top: int) -> list[NeuronScore]:
    """Score several neurons, each as `score_neuron` does, to the bit.

    Args:
        true: Of shape (n_neurons, n_records, n_tokens).
        simulated: Of the same shape.
        n_top: How many of the records are top records.
    """
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

    Taken over all records at once, which is not the mean of the scores of the records.
    """
    return _of_one(_correlations, true, simulated)


def rsquared_score(true: FloatArray, simulated: FloatArray) -> float | None:
    """Return 1 - mean((a - s)²) / mean(a²), as OpenAI's code has it (its paper divides by Var(a)).

    Means something only where the simulation is on the scale of the activations.
    """
    return _of_one(_rsquared, true, simulated)


def absolute_dev_explained_score(true: FloatArray, simulated: FloatArray) -> float | None:
    """Return 1 - mean|a - s| / mean|a|; the caveat of `rsquared_score` holds."""
    return _of_one(_absolute_dev_explained, true, simulated)


def _of_one(
    scores: Callable[[FloatArray, FloatArray], FloatArray], true: FloatArray, simulated: FloatArray
) -> float | None:
    return _defined(float(scores(_flat(true[None]), _flat(simulated[None]))[0]))


def _defined(score: float) -> float | None:
    return None if np.isnan(score) else score


def _flat(activations: FloatArray) -> FloatArray:
    """Return activations as float64 (n_neurons, n), all tokens of a neuron in one row."""
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
    reasons = np.where(_is_constant(true), "constant_activations", reasons)
    return [reason or None for reason in reasons.tolist()]


def _correlations(true: FloatArray, simulated: FloatArray) -> FloatArray:
    """Return the correlation of each row, (n_neurons,), NaN where undefined; so do those below."""
    undefined = _is_constant(true) | _is_constant(simulated)
    x, y = _centred(true), _centred(simulated)
    found = _ratio((x * y).sum(axis=1), np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1)))
    return np.where(undefined, np.nan, np.clip(found, -1.0, 1.0))


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
    found: FloatArray = np.full_like(numerator, np.nan)
    np.divide(numerator, denominator, out=found, where=denominator != 0)
    return found
