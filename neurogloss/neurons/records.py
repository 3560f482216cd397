"""Neurons and what they did on text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

MAX_NORMALIZED = 10


@dataclass(frozen=True, slots=True)
class NeuronId:
    """An MLP neuron, by its layer and its index within the layer, both from 0."""

    layer: int
    neuron: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.neuron}"


@dataclass(frozen=True, slots=True)
class ActivationRecord:
    """One excerpt and the activation of one neuron on each of its tokens."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.activations):
            raise ValueError(f"{len(self.tokens)} tokens, {len(self.activations)} activations")


def normalize(activations: Sequence[float], max_activation: float) -> list[int]:
    """Scale activations to the integers 0 to 10 that the models read and write.

    Negative activations become 0, because GELU leaves a resting neuron slightly below zero; only
    the maximum itself becomes 10, because the scale is rounded down.

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
