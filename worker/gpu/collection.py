"""One pass over excerpts that leaves all that the neurons' records may need.

Activations are rounded to float16, as stored, before anything is read from them. Batches are cut
at multiples of their size, counted from excerpt 0, so that the floating-point work on an excerpt
does not depend on how the corpus was cut into shards.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GPT2Model

from worker.gpu.keeper import NEVER, Keeper, descending
from worker.gpu.subject import forward, on_activations
from worker.neurons.records import FloatArray, IntArray
from worker.neurons.sampling import priorities, random_excerpts
from worker.neurons.selection import QUANTILES

BATCH = 32


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What to keep of one layer.

    `neurons` and `keys` are int64 (n_neurons,). `boundaries` is float32 (n_neurons, 4), or None
    while reference excerpts are read. `worst_top` is int64 (n_neurons,): keys that an excerpt must
    not exceed to be among the top records, as far as is known.
    """

    neurons: IntArray
    keys: IntArray
    boundaries: FloatArray | None
    worst_top: IntArray | None = None


@dataclass(frozen=True, slots=True)
class LayerPart:
    """What a range of excerpts leaves of one layer; see `db.tables.CollectPart` for the shapes."""

    n_tokens: int
    sums: FloatArray
    maxima: FloatArray | None
    nonfinite: NDArray[np.bool_]
    kept_neurons: IntArray
    kept_excerpts: IntArray
    kept_activations: FloatArray
    top_keys: IntArray


def collect(
    model: GPT2Model,
    tokens: IntArray,
    first: int,
    plans: Mapping[int, LayerPlan],
    *,
    n_excerpts: int,
    n_top: int,
    n_random: int,
    per_bucket: int,
) -> dict[int, LayerPart]:
    """Read excerpts `first` and following, and return a part for each layer planned.

    Args:
        model: The subject.
        tokens: int32 of shape (n, excerpt_tokens), excerpts first .. first + n - 1.
        first: The number of the first excerpt.
        plans: By layer.
        n_excerpts: Of the whole corpus.
        n_top: How many records of each kind are wanted.
        n_random: As above.
        per_bucket: As above.
    """
    readers = {
        layer: _LayerReader(
            plan, tokens.shape, model.device, n_excerpts, n_top, n_random, per_bucket
        )
        for layer, plan in plans.items()
    }
    pass_ = _Pass(readers)
    with on_activations(model, sorted(readers), pass_):
        for start, stop in batch_ranges(first, first + len(tokens)):
            pass_.excerpts = torch.arange(start, stop, device=model.device)
            rows = tokens[start - first : stop - first].astype(np.int64)
            forward(model, torch.from_numpy(rows))
    return {layer: reader.part() for layer, reader in readers.items()}


def batch_ranges(start: int, stop: int) -> list[tuple[int, int]]:
    """Cut a range of excerpts at the multiples of the batch size."""
    edges = [start, *range((start // BATCH + 1) * BATCH, stop, BATCH), stop]
    return list(itertools.pairwise(edges))


class _Pass:
    def __init__(self, readers: Mapping[int, "_LayerReader"]) -> None:
        self.readers = readers
        self.excerpts = torch.empty(0)

    def __call__(self, layer: int, activations: torch.Tensor) -> None:
        self.readers[layer].read(activations, self.excerpts)


class _LayerReader:
    def __init__(
        self,
        plan: LayerPlan,
        shape: tuple[int, ...],
        device: torch.device,
        n_excerpts: int,
        n_top: int,
        n_random: int,
        per_bucket: int,
    ) -> None:
        n_neurons, n_tokens = len(plan.neurons), shape[1]
        self.neurons = torch.from_numpy(plan.neurons).to(device)
        self.keys = torch.from_numpy(plan.keys).to(device)
        self.boundaries = _on(device, plan.boundaries)
        self.worst_top = _on(device, plan.worst_top)
        self.sums = torch.zeros((4, n_neurons), dtype=torch.float64, device=device)
        self.nonfinite = torch.zeros(n_neurons, dtype=torch.bool, device=device)
        self.maxima: list[torch.Tensor] = []
        self.n_tokens = 0
        drawn = random_excerpts(plan.keys, n_excerpts, n_random)
        self.drawn = torch.from_numpy(drawn).to(device)  # (n_neurons, n_random)
        self.top = Keeper(n_neurons, n_top, n_tokens, device)
        self.random: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        buckets = 0 if plan.boundaries is None else len(QUANTILES) + 1
        self.buckets = [Keeper(n_neurons, per_bucket, n_tokens, device) for _ in range(buckets)]

    def read(self, activations: torch.Tensor, excerpts: torch.Tensor) -> None:
        # (batch, position, d_mlp) -> (batch, position, n_neurons)
        if len(self.neurons) != activations.shape[2]:
            activations = activations.index_select(2, self.neurons)
        rounded = activations.to(torch.float16)
        finite = rounded.isfinite().all(0).all(0)
        if not finite.all():
            self.nonfinite |= ~finite
            rounded = rounded.where(finite, 0)
        self._add_moments(rounded)
        maxima = rounded.amax(1)  # (batch, n_neurons)
        self._keep_top(maxima, rounded, excerpts)
        self._keep_random(rounded, excerpts)
        if self.boundaries is None:
            self.maxima.append(maxima)
        else:
            self._keep_buckets(maxima, rounded, excerpts)

    def _add_moments(self, rounded: torch.Tensor) -> None:
        x = rounded.to(torch.float32).flatten(0, 1)
        square = x * x
        powers = (x.sum(0), square.sum(0), (square * x).sum(0), (square * square).sum(0))
        self.sums += torch.stack(powers).to(torch.float64)
        self.n_tokens += len(x)

    def _keep_top(
        self, maxima: torch.Tensor, rounded: torch.Tensor, excerpts: torch.Tensor
    ) -> None:
        keys = descending(maxima, excerpts)
        if self.worst_top is not None:
            keys = torch.where(keys <= self.worst_top, keys, NEVER)
        self.top.offer(keys, rounded)

    def _keep_random(self, rounded: torch.Tensor, excerpts: torch.Tensor) -> None:
        first, last = excerpts[0], excerpts[-1]
        within = (self.drawn >= first) & (self.drawn <= last)
        neuron, place = within.nonzero(as_tuple=True)
        excerpt = self.drawn[neuron, place]
        self.random.append((neuron, excerpt, rounded[excerpt - first, :, neuron]))

    def _keep_buckets(
        self, maxima: torch.Tensor, rounded: torch.Tensor, excerpts: torch.Tensor
    ) -> None:
        assert self.boundaries is not None
        reached = maxima.to(torch.float32)[:, :, None] >= self.boundaries  # (batch, neuron, 4)
        bucket = reached.sum(2)
        keys = (priorities(self.keys, excerpts[:, None]) << 32) | excerpts[:, None]
        for number, keeper in enumerate(self.buckets):
            keeper.offer(torch.where(bucket == number, keys, NEVER), rounded)

    def part(self) -> LayerPart:
        held = [self.top.held(), *self.random, *(keeper.held() for keeper in self.buckets)]
        neuron, excerpt, activations = (torch.cat(column) for column in zip(*held, strict=True))
        pair, first = _distinct((neuron << 32) | excerpt)
        return LayerPart(
            n_tokens=self.n_tokens,
            sums=self.sums.cpu().numpy(),
            maxima=torch.cat(self.maxima).cpu().numpy() if self.maxima else None,
            nonfinite=self.nonfinite.cpu().numpy(),
            kept_neurons=(pair >> 32).to(torch.int32).cpu().numpy(),
            kept_excerpts=(pair & 0xFFFFFFFF).to(torch.int32).cpu().numpy(),
            kept_activations=activations[first].cpu().numpy(),
            top_keys=self.top.keys.cpu().numpy(),
        )


def _distinct(pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distinct values, sorted, and where each stands first."""
    ordered, order = pairs.sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first], order[first]


def _on(device: torch.device, values: FloatArray | IntArray | None) -> torch.Tensor | None:
    return None if values is None else torch.from_numpy(values).to(device)
