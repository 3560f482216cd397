"""Sums of powers of activations, from which their moments are made."""

import numpy as np
import torch

from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.statistics import about_mean

_CPU_EXCERPTS = 4  # so that what is computed on the way stays in the processor's cache


def tile_sums(rounded: torch.Tensor) -> FloatArray:
    """Return `Block.sums`, float64 (4, n_neurons), of a tile, float16 (excerpt, position, neuron).

    Powers are taken of the distance from a value near the mean and added in float32 over the
    tokens of one excerpt, then in float64: within 1e-6 of float64 throughout. Where an activation
    is infinite or NaN, the sums of its neuron are NaN.
    """
    shift = rounded[0].mean(0, dtype=torch.float32).to(torch.float16).to(torch.float32)
    size = _CPU_EXCERPTS if rounded.device.type == "cpu" else len(rounded)
    parts = [_sums_of_powers(part, shift) for part in torch.split(rounded, size)]
    # On the CPU: Apple's MPS has no float64.
    powers = torch.cat(parts, dim=1).cpu().numpy().astype(np.float64).sum(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        return about_mean(
            shift.cpu().numpy().astype(np.float64), powers, rounded.shape[0] * rounded.shape[1]
        )


def _sums_of_powers(rounded: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return float32 (4, excerpt, neuron)."""
    distance = rounded - shift
    square = distance * distance
    sums = [distance.sum(1), square.sum(1), distance.mul_(square).sum(1)]
    return torch.stack([*sums, square.mul_(square).sum(1)])
