"""Scores: how well simulated activations match the true ones.

Computed in float64 throughout, so that recomputing a score from stored float16 values on the same
kind of CPU gives the same bits. Records may be of different lengths: every token counts the same.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurogloss.neurons.records import FloatArray

Records = Sequence[FloatArray]
"""One neuron's activations on its records, (n_tokens,) each."""


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


def score_neuron(true: Records, simulated: Records, n_top: int) -> NeuronScore:
    """Score one neuron's simulation.

    Args:
        true: Activations, top records first.
        simulated: Expected activations on the same records, on any scale.
        n_top: How many of the records are top records; the others are random records.
    """
    return score_neurons([true], [simulated], n_top)[0]


def score_neurons(
    true: Sequence[Records], simulated: Sequence[Records], n_top: int
) -> list[NeuronScore]:
    """Score several neurons; each gets the same bits as from `score_neuron`.

    Args:
        true: The activations of each neuron, top records first.
        simulated: Expected activations on the same records.
        n_top: How many of the records of each neuron are top records.
    """
    n_first = [sum(map(len, records[:n_top])) for records in true]
    return score_pooled(list(map(pooled, true)), list(map(pooled, simulated)), n_first)


def score_pooled(
    true: Sequence[FloatArray], simulated: Sequence[FloatArray], n_first: Sequence[int]
) -> list[NeuronScore]:
    """Score several neurons by their activations on all tokens.

    Args:
        true: The activations of each neuron, (n,).
        simulated: Expected activations on the same tokens.
        n_first: How many tokens of each neuron, from the first, are those of top records.
    """
    # Neurons with as many tokens are scored together, which is much faster than one by one.
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, of_neuron in enumerate(true):
        alike[n_first[place], len(of_neuron)].append(place)
    scores: dict[int, NeuronScore] = {}
    for (n_top_tokens, _), places in alike.items():
        one, other = (np.stack([side[place] for place in places]) for side in (true, simulated))
        scores |= zip(places, _scores(one, other, n_top_tokens), strict=True)
    return [scores[place] for place in range(len(true))]


def score_records(true: Records, simulated: Records) -> list[NeuronScore]:
    """Score the simulation of each record by itself."""
    return score_neurons([[one] for one in true], [[one] for one in simulated], n_top=1)


def pooled(records: Records) -> FloatArray:
    """Return the activations on all tokens of some records, (n,).

    Scores are over them, as in the paper: a mean over records would weigh a record in which the
    neuron hardly fires like one in which it fires strongly.
    """
    return np.concatenate(records) if len(records) else np.empty(0, np.float16)


def _scores(true: FloatArray, simulated: FloatArray, n_first: int) -> list[NeuronScore]:
    """Score the rows of (n_neurons, n), whose first `n_first` tokens are those of top records."""
    whole = _flat(true), _flat(simulated)
    of_whole = _correlations(*whole)
    if n_first < true.shape[1]:
        of_top = _correlations(_flat(true[:, :n_first]), _flat(simulated[:, :n_first]))
        of_random = _correlations(_flat(true[:, n_first:]), _flat(simulated[:, n_first:]))
    else:  # as with each record by itself
        of_top, of_random = of_whole, np.full(len(true), np.nan)
    scores = (
        of_whole,
        of_top,
        of_random,
        _rsquared(*whole),
        _absolute_dev_explained(*whole),
    )
    columns = [list(map(_defined, column.tolist())) for column in scores]
    return [NeuronScore(*row) for row in zip(*columns, _undefined_reasons(*whole), strict=True)]


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
    return activations.reshape(len(activations), -1).astype(np.float64, order="C")


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
