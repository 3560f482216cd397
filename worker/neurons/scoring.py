"""How well simulated activations match the true ones."""

from dataclasses import dataclass

import numpy as np

from worker.neurons.records import FloatArray


@dataclass(frozen=True, slots=True)
class NeuronScore:
    """Scores of one neuron; each None where undefined, for the reason named if it is `score`."""

    score: float | None
    score_top: float | None
    score_random: float | None
    rsquared: float | None
    absolute_dev_explained: float | None
    undefined_reason: str | None


def score_neuron(true: FloatArray, simulated: FloatArray, n_top: int) -> NeuronScore:
    """Score a simulation over all tokens of all records at once, and over each kind alone.

    Args:
        true: Activations of shape (n_records, n_tokens), top records first.
        simulated: Expected activations of the same shape, on any scale.
        n_top: How many of the records are top records; the others are random records.
    """
    true, simulated = true.astype(np.float64), simulated.astype(np.float64)
    return NeuronScore(
        score=correlation_score(true, simulated),
        score_top=correlation_score(true[:n_top], simulated[:n_top]),
        score_random=correlation_score(true[n_top:], simulated[n_top:]),
        rsquared=rsquared_score(true, simulated),
        absolute_dev_explained=absolute_dev_explained_score(true, simulated),
        undefined_reason=_undefined_reason(true, simulated),
    )


def _undefined_reason(true: FloatArray, simulated: FloatArray) -> str | None:
    if true.size == 0:
        return "no_records"
    if np.ptp(true) == 0:
        return "constant_activations"
    return "constant_simulation" if np.ptp(simulated) == 0 else None


def correlation_score(true: FloatArray, simulated: FloatArray) -> float | None:
    """Return the Pearson correlation over all tokens, in [-1, 1]; None where one side is constant.

    Taken over all records at once, which is not the mean of the scores of the records.
    """
    if true.size == 0 or np.ptp(true) == 0 or np.ptp(simulated) == 0:
        return None
    x, y = true.ravel() - true.mean(), simulated.ravel() - simulated.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def rsquared_score(true: FloatArray, simulated: FloatArray) -> float | None:
    """Return 1 - mean((a - s)²) / mean(a²), as OpenAI's code has it (its paper divides by Var(a)).

    Means something only where the simulation is on the scale of the activations.
    """
    denominator = np.mean(true**2) if true.size else 0.0
    return None if denominator == 0 else float(1 - np.mean((true - simulated) ** 2) / denominator)


def absolute_dev_explained_score(true: FloatArray, simulated: FloatArray) -> float | None:
    """Return 1 - mean|a - s| / mean|a|; the caveat of `rsquared_score` holds."""
    denominator = np.mean(np.abs(true)) if true.size else 0.0
    return None if denominator == 0 else float(1 - np.mean(np.abs(true - simulated)) / denominator)
