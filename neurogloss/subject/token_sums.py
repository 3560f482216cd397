"""Sums of activations by token, from which the token lookup tables are computed."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers import GPT2Model

from neurogloss.neurons.records import IntArray
from neurogloss.subject.batches import ModelBatch, batches_for
from neurogloss.subject.corpus_pass import read_batches
from neurogloss.subject.device import exact_device

# Added at a time on the CPU: fresh memory for intermediate results of a whole tile, in float64,
# costs more than the additions.
_CPU_TOKENS = 256


class _Read(NamedTuple):
    """What to add of a batch: its tokens, int64 (n_tokens,), and the positions that hold them.

    Positions are bool (n_positions,), over all excerpts of the batch; None if all of them do.
    """

    tokens: torch.Tensor
    are_tokens: torch.Tensor | None


class TokenSums:
    """Running sums for some neurons of some layers over any number of batches.

    They take 8 bytes for each neuron and token of the vocabulary.
    """

    def __init__(self, model: GPT2Model, neurons: Mapping[int, Sequence[int]]) -> None:
        vocabulary, device = model.config.vocab_size, exact_device(model.device)
        self._device = device
        self._model, self._layers = model, list(neurons)
        self._indices = {layer: np.array(indices) for layer, indices in neurons.items()}
        self._neurons = {
            layer: torch.from_numpy(indices).to(model.device)
            for layer, indices in self._indices.items()
        }
        # Float64 adds float16 exactly: they are multiples of 2^-24, and sums stay below 2^29. So
        # the order of the additions, which a GPU does not fix, does not matter.
        self._sums = {
            layer: torch.zeros((vocabulary, len(indices)), dtype=torch.float64, device=device)
            for layer, indices in neurons.items()
        }
        self._locks = {layer: threading.Lock() for layer in neurons}
        self._counts = np.zeros(model.config.vocab_size, dtype=np.int64)

    def add(
        self,
        tokens: IntArray,
        lengths: IntArray | None = None,
        *,
        first: int = 0,
        on_layer: Callable[[], None] = lambda: None,
    ) -> None:
        """Add excerpts, in batches like those in which `collect` reads them.

        Args:
            tokens: int32 (n, excerpt_tokens).
            lengths: Of the excerpts, int32 (n,), if some are shorter.
            first: The number of the first excerpt.
            on_layer: Called after each layer of each batch, on the CPU from several threads; an
            exception that it raises ends the pass.
        """
        cut = list(batches_for(self._model, tokens, first))
        read = {batch.first: self._read(batch, lengths) for batch in cut}

        def keep(batch: ModelBatch, layer: int, activations: torch.Tensor) -> None:
            self._add(layer, activations[batch.rows], read[batch.first])

        read_batches(self._model, self._layers, cut, keep, on_layer)

    def _read(self, batch: ModelBatch, lengths: IntArray | None) -> _Read:
        """Return what to add of a batch, and count its tokens; `lengths` are of all excerpts."""
        tokens, are_tokens = batch.tokens[batch.rows], None
        if lengths is not None:
            is_token = np.arange(tokens.shape[1]) < batch.part_of(lengths)[:, None]
            tokens = tokens[is_token]
            are_tokens = torch.from_numpy(is_token.ravel()).to(self._model.device)
        flat = tokens.ravel()
        self._counts += np.bincount(flat, minlength=len(self._counts))
        return _Read(torch.from_numpy(flat.astype(np.int64)).to(self._device), are_tokens)

    def _add(self, layer: int, activations: torch.Tensor, read: _Read) -> None:
        """Add the activations of a layer, (excerpt, position, d_mlp). Safe to use from threads."""
        if len(self._neurons[layer]) != activations.shape[2]:
            activations = activations.index_select(2, self._neurons[layer])
        flat = activations.flatten(0, 1)
        if read.are_tokens is not None:
            flat = flat[read.are_tokens]
        size = _CPU_TOKENS if flat.device.type == "cpu" else max(1, len(flat))
        for part, tokens in zip(
            torch.split(flat, size), torch.split(read.tokens, size), strict=True
        ):
            rounded = torch.nan_to_num(part.to(torch.float16).to(self._device), 0.0, 0.0, 0.0)
            exact = rounded.to(torch.float64)
            with self._locks[layer]:
                self._sums[layer].index_add_(0, tokens, exact)

    def of_neurons(self, layer: int, neurons: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sums of neurons, float64 (vocabulary, n_neurons), and the tokens' counts.

        Counts are int64 (vocabulary,). The neurons must be among those of the layer.
        """
        counts = torch.from_numpy(self._counts).to(self._device)
        columns = np.searchsorted(self._indices[layer], neurons)
        first, stop = int(columns[0]), int(columns[-1]) + 1
        if stop - first == len(columns):  # side by side, as they are asked for: no copy
            return self._sums[layer][:, first:stop], counts
        chosen = torch.from_numpy(columns).to(self._device)
        return self._sums[layer].index_select(1, chosen), counts
