"""Sums of activations by tile, added and merged on a GPU, and copied to the host once.

Their moments are within 1e-6 of those of `tile_sums`. They have the same bits in every shard that
consists of whole batches; where a batch is parted, the last bit of a float64 may depend on it, as
the host merges the parts then, by its own `pow`.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from neurogloss.neurons.moments import TileSums, merge_halves, merged_sums, sums_about_mean
from neurogloss.neurons.tiles import TILE
from neurogloss.subject.tile_sums import sums_of_powers


class _Block(NamedTuple):
    """A `TileSums` on the device: `n_tokens` is float64 (), `sums` float64 (4, n_neurons)."""

    first: int
    n_tiles: int
    n_tokens: torch.Tensor
    sums: torch.Tensor


class DeviceSums:
    """The sums of the tiles of one layer that begin `within` a range of excerpts.

    It does what `HostSums` does, and waits for the device only where results are asked for.
    """

    def __init__(self, n_neurons: int, within: range, device: torch.device) -> None:
        self._within = within
        self._blocks: list[_Block] = []
        self._nonfinite = torch.zeros(n_neurons, dtype=torch.bool, device=device)

    def add(self, rounded: torch.Tensor, first: int, padding: torch.Tensor | None) -> None:
        """Add whole tiles, and set their infinities and NaN to 0 in place; as `HostSums.add`."""
        ends = torch.stack([rounded.amax(1), rounded.amin(1)])
        self._nonfinite |= ends.isfinite().all(0).all(0).logical_not()
        torch.nan_to_num(rounded, 0.0, 0.0, 0.0, out=rounded)
        # A tile that begins outside belongs to the shard with its first excerpt.
        starts = [s for s in range(0, len(rounded), TILE) if first + s in self._within]
        if starts:
            inside = slice(starts[0], starts[-1] + TILE)
            sums, counts = _sums_of_tiles(
                rounded[inside], None if padding is None else padding[inside]
            )
            self._blocks += _merged_in_pairs((first + starts[0]) // TILE, sums, counts)

    @property
    def blocks(self) -> list[TileSums]:
        """The tiles, merged as far as they go together."""
        if not self._blocks:
            return []
        sums = torch.stack([block.sums for block in self._blocks]).cpu().numpy()
        counts = torch.stack([block.n_tokens for block in self._blocks]).tolist()
        return merge_halves(
            TileSums(block.first, block.n_tiles, int(n_tokens), own)
            for block, n_tokens, own in zip(self._blocks, counts, sums, strict=True)
        )

    @property
    def nonfinite(self) -> NDArray[np.bool_]:
        """The neurons with an infinite or NaN activation, bool (n_neurons,)."""
        found: NDArray[np.bool_] = self._nonfinite.cpu().numpy()
        return found


def _sums_of_tiles(
    rounded: torch.Tensor, padding: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums, float64 (n_tiles, 4, n_neurons), and numbers of tokens, float64 (n_tiles,).

    The last tile may be shorter than the others.
    """
    shifts = rounded[::TILE].mean(1, dtype=torch.float32).to(torch.float16).to(torch.float32)
    tiles = torch.split(rounded, TILE)
    paddings = [None] * len(tiles) if padding is None else torch.split(padding, TILE)
    powers = torch.stack(
        [
            sums_of_powers(tile, shift, without).to(torch.float64).sum(1)
            for tile, shift, without in zip(tiles, shifts, paddings, strict=True)
        ]
    )
    sizes = [tile.shape[0] * tile.shape[1] for tile in tiles]
    counts = torch.tensor(sizes, dtype=torch.float64, device=rounded.device)
    if padding is not None:
        counts -= torch.stack([part.sum() for part in torch.split(padding, TILE)])
    sums = sums_about_mean(shifts.to(torch.float64), powers.unbind(1), counts[:, None])
    return torch.stack(sums, dim=1), counts


def _merged_in_pairs(first: int, sums: torch.Tensor, counts: torch.Tensor) -> list[_Block]:
    """Merge adjoining tiles, from tile `first` on, along the tree of `moments.merge_halves`.

    Whole levels of the tree are merged together, as launches would otherwise take the time.
    """
    found, size = [], 1
    while len(sums):
        if first // size % 2:  # the right half of a node whose left half is not there
            found.append(_Block(first, size, counts[0], sums[0]))
            first, sums, counts = first + size, sums[1:], counts[1:]
        if len(sums) % 2:  # the left half of one whose right half is not there
            last = first + (len(sums) - 1) * size
            found.append(_Block(last, size, counts[-1], sums[-1]))
            sums, counts = sums[:-1], counts[:-1]
        if len(sums):
            (a, b), (left, right) = (counts[::2], counts[1::2]), (sums[::2], sums[1::2])
            merged = merged_sums(left.unbind(1), right.unbind(1), a[:, None], b[:, None])
            sums, counts, size = torch.stack(merged, dim=1), a + b, 2 * size
    return found
