"""Sums of activations by token, from which the token lookup tables are computed."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from transformers import GPT2Model

from neurogloss.neurons.records import IntArray
from neurogloss.subject.batches import batches_for
from neurogloss.subject.device import exact_device
from neurogloss.subject.model import forward, on_activations
from neurogloss.subject.onednn import packed_weights

# Added at a time on the CPU: fresh memory for intermediate results of a whole tile, in float64,
# costs more than the additions.
_CPU_TOKENS = 256


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
        self._counts = np.zeros(model.config.vocab_size, dtype=np.int64)
        # Of the batch that goes through the model: the rows to add, which of their positions hold
        # tokens, bool (n_positions,) or None for all, and these tokens, int64 (n_tokens,).
        self._rows = slice(0)
        self._are_tokens: torch.Tensor | None = None
        self._tokens = torch.empty(0)

    def add(
        self,
        tokens: IntArray,
        lengths: IntArray | None = None,
        *,
        first: int = 0,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        """Add excerpts, in batches like those in which `collect` reads them.

        Args:
            tokens: int32 (n, excerpt_tokens).
            lengths: Of the excerpts, int32 (n,), if some are shorter.
            first: The number of the first excerpt.
            on_batch: Called before each batch; an exception that it raises ends the pass.
        """
        with (
            on_activations(self._model, self._layers, self._keep),
            packed_weights(self._model),
        ):
            for batch in batches_for(self._model, tokens, first):
                on_batch()
                own = None if lengths is None else batch.part_of(lengths)
                self._expect(batch.tokens[batch.rows], own)
                self._rows = batch.rows
                forward(self._model, batch.tokens)

    def _expect(self, tokens: IntArray, lengths: IntArray | None) -> None:
        """Prepare for the activations on tokens, and count these."""
        read = tokens.ravel()
        if lengths is not None:
            are_tokens = (np.arange(tokens.shape[1]) < lengths[:, None]).ravel()
            read = read[are_tokens]
            self._are_tokens = torch.from_numpy(are_tokens).to(self._device)
        self._tokens = torch.from_numpy(read.astype(np.int64)).to(self._device)
        self._counts += np.bincount(read, minlength=len(self._counts))

    def _keep(self, layer: int, activations: torch.Tensor) -> None:
        activations = activations[self._rows]
        if len(self._neurons[layer]) != activations.shape[2]:
            activations = activations.index_select(2, self._neurons[layer])
        flat = activations.flatten(0, 1)
        if self._are_tokens is not None:
            flat = flat[self._are_tokens.to(flat.device)]
        size = _CPU_TOKENS if flat.device.type == "cpu" else max(1, len(flat))
        for part, tokens in zip(
            torch.split(flat, size), torch.split(self._tokens, size), strict=True
        ):
            rounded = torch.nan_to_num(part.to(torch.float16).to(self._device), 0.0, 0.0, 0.0)
            self._sums[layer].index_add_(0, tokens, rounded.to(torch.float64))

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
