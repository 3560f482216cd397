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
from neurogloss.subject.device import on_host
from neurogloss.subject.fused_powers import load
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
        lengths = _lengths(rounded, padding)
        shifts, powers, nonfinite = _powers(rounded, lengths, padding)
        self._nonfinite |= nonfinite
        # A tile that begins outside belongs to the shard with its first excerpt.
        inside = [n for n in range(len(shifts)) if first + n * TILE in self._within]
        if inside:
            counts = _over_tiles(lengths[None, :, None]).flatten()
            sums = sums_about_mean(shifts.to(torch.float64), powers.unbind(1), counts[:, None])
            tiles = slice(inside[0], inside[-1] + 1)
            self._blocks += _merged_in_pairs(
                first // TILE + inside[0], torch.stack(sums, dim=1)[tiles], counts[tiles]
            )

    @property
    def blocks(self) -> list[TileSums]:
        """The tiles, merged as far as they go together."""
        if not self._blocks:
            return []
        sums = on_host(torch.stack([block.sums for block in self._blocks]))
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


def _powers(
    rounded: torch.Tensor, lengths: torch.Tensor, padding: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Set infinities and NaN to 0, and return shifts, sums of powers, and whose they were.

    Shifts are float32 (n_tiles, n_neurons), sums float64 (n_tiles, 4, n_neurons), neurons bool
    (n_neurons,).
    """
    means = rounded[::TILE].mean(1, dtype=torch.float32).to(torch.float16).to(torch.float32)
    shifts = torch.nan_to_num(means, 0.0, 0.0, 0.0)
    fused = load(rounded.device)
    # The kernel reads two neurons at a time, from memory without gaps.
    if fused is not None and rounded.shape[2] % 2 == 0 and rounded.is_contiguous():
        powers, nonfinite = fused(rounded, shifts, lengths)
    else:
        nonfinite = _remove_nonfinite(rounded)
        powers = _by_torch(rounded, shifts, padding)
    return shifts, _over_tiles(powers), nonfinite


def _over_tiles(of_excerpts: torch.Tensor) -> torch.Tensor:
    """Add values of excerpts, (k, n_excerpts, m), to float64 (n_tiles, k, m)."""
    missing = -of_excerpts.shape[1] % TILE
    if missing:  # of the last tile of a corpus
        of_excerpts = torch.nn.functional.pad(of_excerpts, (0, 0, 0, missing))
    k, n, m = of_excerpts.shape
    of_tiles = of_excerpts.reshape(k, n // TILE, TILE, m).sum(2, dtype=torch.float64)
    return of_tiles.transpose(0, 1)


def _remove_nonfinite(rounded: torch.Tensor) -> torch.Tensor:
    ends = torch.stack([rounded.amax(1), rounded.amin(1)])
    torch.nan_to_num(rounded, 0.0, 0.0, 0.0, out=rounded)
    return ends.isfinite().all(0).all(0).logical_not()


def _by_torch(
    rounded: torch.Tensor, shifts: torch.Tensor, padding: torch.Tensor | None
) -> torch.Tensor:
    """Return sums of powers over the tokens of each excerpt, float32 (4, excerpt, neuron)."""
    tiles = torch.split(rounded, TILE)
    paddings = [None] * len(tiles) if padding is None else torch.split(padding, TILE)
    found = [sums_of_powers(*tile) for tile in zip(tiles, shifts, paddings, strict=True)]
    return torch.cat(found, dim=1)


def _lengths(rounded: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
    """Return the number of tokens of each excerpt, int32 (excerpt,)."""
    n, n_tokens = rounded.shape[:2]
    if padding is None:
        return torch.full((n,), n_tokens, dtype=torch.int32, device=rounded.device)
    return padding.logical_not().sum((1, 2), dtype=torch.int32)


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
