"""Activation records: one neuron's activations on one excerpt, and their scale from 0 to 10."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

MAX_NORMALIZED = 10  # as in the paper: activations are shown and simulated as integers 0 to 10


@dataclass(frozen=True, slots=True)
class ActivationRecord:
    """The tokens of one excerpt, as text, and the activation of one neuron on each of them."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.activations):
            raise ValueError(f"{len(self.tokens)} tokens, {len(self.activations)} activations")


def normalize(activations: Sequence[float], max_activation: float) -> list[int]:
    """Scale activations to the integers 0 to 10 that explainer and simulator read and write.

    Negative activations become 0, because GELU leaves a resting neuron slightly below zero. Values
    are rounded down, so that only activations of `max_activation` and above become 10.

    Raises:
        ValueError: An activation is NaN or infinite.
    """
    for activation in activations:
        if not math.isfinite(activation):
            raise ValueError(f"cannot normalize the activation {activation}")
    if max_activation <= 0:
        return [0] * len(activations)
    return [
        min(MAX_NORMALIZED, math.floor(MAX_NORMALIZED * max(0.0, a) / max_activation))
        for a in activations
    ]
