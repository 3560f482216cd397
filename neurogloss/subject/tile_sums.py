"""Sums of activations by tile, added on the CPU, from which `neurons.moments` computes moments."""

import threading
from collections.abc import Iterator

import numpy as np
import torch

from neurogloss.neurons.moments import TileSums, merge_halves, sums_about_mean
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.tiles import TILE

# Activations at a time on the CPU, whose powers stay in a core's own cache, 256 KiB each: twice as
# fast as those of four excerpts at a time, with the same bits.
_CPU_VALUES = 65_536


class HostSums:
    """The sums of the tiles of one layer that begin `within` a range of excerpts.

    `blocks` are those tiles, merged as far as they go together. `nonfinite`, bool (n_neurons,),
    marks neurons with an infinite or NaN activation.
    """

    def __init__(self, n_neurons: int, within: range, device: torch.device) -> None:
        self._within = within
        self._lock = threading.Lock()
        self.blocks: list[TileSums] = []
        self.nonfinite = np.zeros(n_neurons, dtype=bool)

    def add(self, rounded: torch.Tensor, first: int, padding: torch.Tensor | None) -> None:
        """Add whole tiles, and set their infinities and NaN to 0 in place. Safe in threads.

        Args:
            rounded: Activations from excerpt `first` on, float16 (excerpt, position, neuron), with
                zeros where there is padding.
            first: A multiple of TILE.
            padding: Which positions do not count, bool (excerpt, position, 1).
        """
        for start in range(0, len(rounded), TILE):
            tile = slice(start, start + TILE)
            self._add(rounded[tile], first + start, None if padding is None else padding[tile])

    def _add(self, tile: torch.Tensor, first: int, padding: torch.Tensor | None) -> None:
        sums, n_tokens = sums_of_tile(tile, padding)
        # The sums are finite if all activations are, and much smaller to test.
        if not np.isfinite(sums).all():
            nonfinite = ~tile.isfinite().all(0).all(0).cpu().numpy()
            with self._lock:
                self.nonfinite |= nonfinite
            tile.masked_fill_(~tile.isfinite(), 0)
            sums, _ = sums_of_tile(tile, padding)
        if first in self._within:  # otherwise the tile belongs to the shard with its first excerpt
            block = TileSums(first // TILE, 1, n_tokens, sums)
            with self._lock:
                self.blocks = merge_halves([*self.blocks, block])


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
    n_excerpts, n_tokens, n_neurons = rounded.shape
    n = n_excerpts * n_tokens - (0 if padding is None else int(padding.sum()))
    shift = rounded[0].mean(0, dtype=torch.float32).to(torch.float16).to(torch.float32)
    of_excerpts = torch.empty((4, n_excerpts, n_neurons), device=rounded.device)
    for rows, columns in _blocks(rounded):
        without = None if padding is None else padding[rows]
        of_block = sums_of_powers(rounded[rows, :, columns], shift[columns], without)
        of_excerpts[:, rows, columns] = of_block
    # Added on the CPU, because Apple's MPS has no float64.
    powers = of_excerpts.cpu().numpy().astype(np.float64).sum(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.stack(sums_about_mean(shift.cpu().numpy().astype(np.float64), powers, n)), n


def _blocks(rounded: torch.Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield the excerpts and the neurons whose powers are computed together."""
    n_excerpts, n_tokens, n_neurons = rounded.shape
    if rounded.device.type != "cpu":
        yield slice(n_excerpts), slice(n_neurons)
        return
    size = max(1, _CPU_VALUES // n_tokens)
    for excerpt in range(n_excerpts):
        for start in range(0, n_neurons, size):
            yield slice(excerpt, excerpt + 1), slice(start, start + size)


def sums_of_powers(
    rounded: torch.Tensor, shift: torch.Tensor, padding: torch.Tensor | None = None
) -> torch.Tensor:
    """Return sums of the first to fourth powers over tokens, float32 (4, excerpt, neuron)."""
    # In place, which is nearly twice as fast as a difference of two types.
    distance = rounded.to(torch.float32, copy=True).sub_(shift)
    if padding is not None:
        distance.masked_fill_(padding, 0)
    square = distance * distance
    sums = [distance.sum(1), square.sum(1), distance.mul_(square).sum(1)]
    return torch.stack([*sums, square.mul_(square).sum(1)])
