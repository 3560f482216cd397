"""Collects record candidates and moments of one layer during a forward pass over excerpts."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neurogloss.neurons.moments import TileSums
from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.neurons.selection import (
    N_BUCKETS,
    NEVER,
    PADDING,
    KeptExcerpts,
    RecordCounts,
    draw_keys,
    top_keys,
)
from neurogloss.subject.device import on_host
from neurogloss.subject.device_sums import DeviceSums
from neurogloss.subject.lowest_keys import LowestKeys
from neurogloss.subject.tile_sums import HostSums


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The neurons of a layer, and the limits of what to keep for them.

    `neurons` and `keys` are int64 (n_neurons,). `boundaries` is float32 (n_neurons, 4); None while
    the reference is read. `bars` is int64 (7, n_neurons): the highest keys, as far as they are
    known, with which an excerpt can still be a top, random or bucket record.
    """

    neurons: IntArray
    keys: IntArray
    boundaries: FloatArray | None
    bars: IntArray | None = None


@dataclass(frozen=True, slots=True)
class LayerPart:
    """What was collected of one layer from a range of excerpts.

    `blocks` are the sums for the moments. `nonfinite`, bool (n_neurons,), marks neurons with an
    infinite or NaN activation, which counts as 0. `maxima`, float16 (n_excerpts, n_neurons), is
    there for reference excerpts only.
    """

    kept: KeptExcerpts
    blocks: list[TileSums]
    nonfinite: NDArray[np.bool_]
    maxima: FloatArray | None


class LayerCollector:
    """Takes one layer's activations tile by tile, and keeps those of the excerpts `within`.

    Tiles may come in any order, and from several threads.
    """

    def __init__(
        self,
        plan: LayerPlan,
        counts: RecordCounts,
        within: range,
        n_tokens: int,
        device: torch.device,
    ) -> None:
        self._counts, self._within = counts, within
        n_neurons = len(plan.neurons)
        self._neurons = torch.from_numpy(plan.neurons).to(device)
        self._keys = torch.from_numpy(plan.keys).to(device)
        self._boundaries = (
            None if plan.boundaries is None else torch.from_numpy(plan.boundaries).to(device)
        )
        bars = np.full((2 + N_BUCKETS, n_neurons), NEVER) if plan.bars is None else plan.bars.copy()
        if within.stop <= counts.n_reference and counts.draws_outside:
            bars[1] = -1  # the reference gives no random record: none is kept
        self._top, self._random, *self._buckets = (
            LowestKeys(torch.from_numpy(bar).to(device), count, n_tokens)
            for bar, count in zip(bars, counts.per_kind, strict=True)
        )
        # Apple's MPS has no float64, so that its sums are added on the CPU too.
        sums = DeviceSums if device.type == "cuda" else HostSums
        self._sums = sums(n_neurons, within, device)
        self._maxima: dict[int, torch.Tensor] = {}  # of the batches, by their first excerpts

    def read(
        self, activations: torch.Tensor, first: int, padding: torch.Tensor | None = None
    ) -> None:
        """Take activations of whole tiles, (excerpt, position, d_mlp), from excerpt `first` on.

        `padding`, bool (excerpt, position, 1), marks the positions that are none of an excerpt's.
        """
        if len(self._neurons) != activations.shape[2]:
            # A sample of neurons is cut out first, so that all later work is proportional to the
            # sample.
            activations = activations.index_select(2, self._neurons)
        # Rounded before anything is computed, so that stored rows reproduce every result. A copy in
        # any case: it is changed below, and a float16 model goes on with its own.
        rounded = activations.to(torch.float16, copy=True)
        if padding is not None:  # whatever the model makes of it, it is finite then
            rounded.masked_fill_(padding, 0)
        self._sums.add(rounded, first, padding)
        if padding is not None:
            rounded.masked_fill_(padding, PADDING)
        inside = slice(
            max(0, self._within.start - first), min(len(rounded), self._within.stop - first)
        )
        excerpts = torch.arange(first, first + len(rounded), device=rounded.device)
        self._keep(rounded[inside], excerpts[inside], first)

    def _keep(self, rounded: torch.Tensor, excerpts: torch.Tensor, first: int) -> None:
        maxima = rounded.amax(1) + 0.0  # (excerpt, neuron), without negative zeros
        excerpts = excerpts[:, None]
        # The bits of a float16, as an integer, are what `top_keys` orders by.
        bits = maxima.view(torch.int16).to(torch.int64)
        self._top.offer(top_keys(bits, excerpts), rounded)
        draws = draw_keys(self._keys, excerpts, self._counts.n_excerpts)
        self._random.offer(draws, rounded)
        if self._boundaries is None:
            # Kept for the quantile boundaries, which are measured once the reference has been read.
            self._maxima[first] = maxima
            return
        reached = maxima.to(torch.float32)[:, :, None] >= self._boundaries  # (excerpt, neuron, 4)
        bucket = reached.sum(2)
        for number, lowest_keys in enumerate(self._buckets):
            lowest_keys.offer(torch.where(bucket == number, draws, NEVER), rounded)

    def part(self) -> LayerPart:
        """Return what was collected. An excerpt kept for several kinds of record is there once."""
        held = [kind.held() for kind in (self._top, self._random, *self._buckets)]
        neuron, excerpt, activations = (torch.cat(column) for column in zip(*held, strict=True))
        # One integer for each pair of neuron and excerpt, because `unique` of rows is many times
        # slower.
        pair, place = _distinct((neuron << 32) | excerpt)
        kept = KeptExcerpts(
            on_host((pair >> 32).to(torch.int32)),
            on_host((pair & 0xFFFFFFFF).to(torch.int32)),
            on_host(activations[place]),
        )
        maxima = None
        if self._maxima:
            maxima = on_host(torch.cat([self._maxima[first] for first in sorted(self._maxima)]))
        return LayerPart(kept, self._sums.blocks, self._sums.nonfinite, maxima)


def _distinct(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distinct ones of int64 (n,) in order, and a place of each."""
    if values.device.type == "cpu":  # twice as fast there
        found, place = np.unique(values.numpy(), return_index=True)
        return torch.from_numpy(found), torch.from_numpy(place)
    values, order = values.sort()
    is_first = torch.ones_like(values, dtype=torch.bool)
    is_first[1:] = values[1:] != values[:-1]
    return values[is_first], order[is_first]
