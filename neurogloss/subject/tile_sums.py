"""The sums of one tile's activations from which `neurons.moments` computes their moments."""

import numpy as np
import torch

from neurogloss.neurons.moments import sums_about_mean
from neurogloss.neurons.records import FloatArray

_CPU_EXCERPTS = 4  # at a time, so that intermediate results stay in the processor's cache


def sums_of_tile(
    rounded: torch.Tensor, padding: torch.Tensor | None = None
) -> tuple[FloatArray, int]:
    """Return `TileSums.sums`, float64 (4, n_neurons), of a tile, and the number of its tokens.

    Powers of deviations from a value near the mean are added in float32 over the tokens of one
    excerpt, then in float64 over excerpts. The result is within 1e-6 of float64 throughout. Where
    an activation is infinite or NaN, the sums of its neuron are NaN.

    Args:
        rounded: Activations, float16 (excerpt, position, neuron).
        padding: Which positions do not count, bool (excerpt, position, 1); their activations are
            finite.
    """
    n = rounded.shape[0] * rounded.shape[1]
    shift = rounded[0].mean(0, dtype=torch.float32).to(torch.float16).to(torch.float32)
    size = _CPU_EXCERPTS if rounded.device.type == "cpu" else len(rounded)
    if padding is None:
        parts = [_sums_of_powers(part, shift) for part in torch.split(rounded, size)]
    else:
        n -= int(padding.sum())
        pairs = zip(torch.split(rounded, size), torch.split(padding, size), strict=True)
        parts = [_sums_of_powers(part, shift, without) for part, without in pairs]
    # Added on the CPU, because Apple's MPS has no float64.
    powers = torch.cat(parts, dim=1).cpu().numpy().astype(np.float64).sum(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        return sums_about_mean(shift.cpu().numpy().astype(np.float64), powers, n), n


def _sums_of_powers(
    rounded: torch.Tensor, shift: torch.Tensor, padding: torch.Tensor | None = None
) -> torch.Tensor:
    """Return sums of the first to fourth powers over tokens, float32 (4, excerpt, neuron)."""
    distance = rounded - shift
    if padding is not None:
        distance.masked_fill_(padding, 0)
    square = distance * distance
    sums = [distance.sum(1), square.sum(1), distance.mul_(square).sum(1)]
    return torch.stack([*sums, square.mul_(square).sum(1)])
