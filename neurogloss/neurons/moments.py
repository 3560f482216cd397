"""Moments of a neuron's activations, from sums over tiles of excerpts that merge in any order.

Floating-point addition is not associative. So sums are merged along a fixed binary tree over the
tiles of the corpus: the result has the same bits, whatever the order of the merges.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from neurogloss.neurons.records import FloatArray


@dataclass(frozen=True, slots=True)
class TileSums:
    """Sums over `n_tiles` tiles with `n_tokens` tokens in all; `first` is the first tile.

    `sums` is float64 (4, n_neurons): the mean, and the sums of the second, third and fourth powers
    of the deviations from it.
    """

    first: int
    n_tiles: int
    n_tokens: int
    sums: FloatArray


class Moments(NamedTuple):
    """Moments of neurons, each float64 (n_neurons,). Skewness and kurtosis are NaN at variance 0.

    Kurtosis is the fourth standardised moment, which is 3 for a normal distribution.
    """

    mean: FloatArray
    variance: FloatArray
    skewness: FloatArray
    kurtosis: FloatArray


def sums_about_mean(shift: Any, powers: Any, n: Any) -> tuple[Any, Any, Any, Any]:
    """Return the four `TileSums.sums` from sums of powers of the deviations from a shift.

    The nearer the shift is to the mean, the less precision is lost to cancellation. Arrays may be
    of numpy or of torch, and of any shape that goes together.

    Args:
        shift: float64 (n_neurons,).
        powers: Sums of the first to fourth powers, four of float64 (n_neurons,).
        n: Number of values that were added.
    """
    first, second, third, fourth = powers
    mean = first / n
    return (
        shift + mean,
        # Rounding can leave the sums of even powers slightly negative where a neuron is nearly
        # constant.
        (second - n * mean**2).clip(0.0),
        third - 3 * mean * second + 2 * n * mean**3,
        (fourth - 4 * mean * third + 6 * mean**2 * second - 3 * n * mean**4).clip(0.0),
    )


def merge_halves(blocks: Iterable[TileSums]) -> list[TileSums]:
    """Merge the blocks that are halves of a node of the tree; return the blocks left, in order."""
    merged: list[TileSums] = []
    for block in sorted(blocks, key=lambda b: b.first):
        merged.append(block)
        while len(merged) > 1 and _are_halves(*merged[-2:]):
            right, left = merged.pop(), merged.pop()
            merged.append(_merged(left, right))
    return merged


def moments_of(blocks: Iterable[TileSums]) -> tuple[Moments, int]:
    """Return the moments over all tiles, and the number of their tokens.

    Raises:
        ValueError: A tile is missing, or there twice.
    """
    total, *others = merge_halves(blocks)
    for block in others:
        if block.first != total.first + total.n_tiles:
            raise ValueError(f"tiles up to {block.first} are missing or doubled")
        total = _merged(total, block)
    mean, second, third, fourth = total.sums
    variance = second / total.n_tokens
    # A constant neuron has no shape: NaN here becomes NULL in the database.
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = np.where(variance > 0, third / total.n_tokens / variance**1.5, np.nan)
        kurtosis = np.where(variance > 0, fourth / total.n_tokens / variance**2, np.nan)
    return Moments(mean, variance, skewness, kurtosis), total.n_tokens


def _are_halves(left: TileSums, right: TileSums) -> bool:
    """Return whether two blocks adjoin, are of equal size, and begin at a multiple of twice it."""
    size = left.n_tiles
    adjoin = left.first + size == right.first
    return adjoin and size == right.n_tiles and left.first % (2 * size) == 0


def _merged(left: TileSums, right: TileSums) -> TileSums:
    sums = np.stack(merged_sums(left.sums, right.sums, left.n_tokens, right.n_tokens))
    n_tokens = left.n_tokens + right.n_tokens
    return TileSums(left.first, left.n_tiles + right.n_tiles, n_tokens, sums)


def merged_sums(left: Any, right: Any, a: Any, b: Any) -> tuple[Any, Any, Any, Any]:
    """Return the four `TileSums.sums` of two blocks together, from those of each.

    The formulas are P. Pébay's (Sandia report SAND2008-6212). Arrays may be of numpy or of torch.

    Args:
        left: Of the one block, four of float64 (n_neurons,).
        right: Of the other.
        a: Number of tokens of the one.
        b: Of the other.
    """
    n = a + b
    (mean, left2, left3, left4), (right_mean, right2, right3, right4) = left, right
    d = right_mean - mean
    third = d**3 * a * b * (a - b) / n**2 + 3 * d * (a * right2 - b * left2) / n
    fourth = (
        d**4 * a * b * (a**2 - a * b + b**2) / n**3
        + 6 * d**2 * (a**2 * right2 + b**2 * left2) / n**2
        + 4 * d * (a * right3 - b * left3) / n
    )
    return (
        mean + d * b / n,
        left2 + right2 + d**2 * a * b / n,
        left3 + right3 + third,
        left4 + right4 + fourth,
    )
