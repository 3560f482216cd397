"""Sums of activations by token, from which the token lookup tables are computed."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import GPT2Model

from neurogloss.neurons.records import IntArray
from neurogloss.subject.model import forward, on_activations


class TokenSums:
    """Running sums for some neurons of some layers over any number of batches.

    They take 8 bytes for each neuron and token of the vocabulary.
    """

    def __init__(self, model: GPT2Model, neurons: Mapping[int, Sequence[int]]) -> None:
        vocabulary, device = model.config.vocab_size, model.device
        self._model, self._layers = model, list(neurons)
        self._neurons = {
            layer: torch.tensor(indices, device=device) for layer, indices in neurons.items()
        }
        # Float64 adds float16 exactly: they are multiples of 2^-24, and sums stay below 2^29. So
        # the order of the additions, which a GPU does not fix, does not matter.
        self._sums = {
            layer: torch.zeros((vocabulary, len(indices)), dtype=torch.float64, device=device)
            for layer, indices in neurons.items()
        }
        self._counts = np.zeros(model.config.vocab_size, dtype=np.int64)
        self._tokens = torch.empty(0)  # of the batch, (n,)
        self._are_tokens: torch.Tensor | None = None  # where there is padding, (n_padded,)

    def add(self, tokens: IntArray, lengths: IntArray | None = None) -> None:
        """Add one batch of excerpts, int32 (batch, excerpt_tokens), of these lengths."""
        read = tokens.ravel()
        if lengths is not None:
            are_tokens = (np.arange(tokens.shape[1]) < lengths[:, None]).ravel()
            read = read[are_tokens]
            self._are_tokens = torch.from_numpy(are_tokens).to(self._model.device)
        self._tokens = torch.from_numpy(read.astype(np.int64)).to(self._model.device)
        self._counts += np.bincount(read, minlength=len(self._counts))
        with on_activations(self._model, self._layers, self._keep):
            forward(self._model, tokens)

    def _keep(self, layer: int, activations: torch.Tensor) -> None:
        if len(self._neurons[layer]) != activations.shape[2]:
            activations = activations.index_select(2, self._neurons[layer])
        rounded = activations.flatten(0, 1).to(torch.float16)
        if self._are_tokens is not None:
            rounded = rounded[self._are_tokens]
        rounded = torch.where(rounded.isfinite(), rounded, 0).to(torch.float64)
        self._sums[layer].index_add_(0, self._tokens, rounded)

    def of_neurons(self, layer: int, neurons: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sums of neurons, float64 (vocabulary, n_neurons), and the tokens' counts.

        Counts are int64 (vocabulary,). The neurons must be among those of the layer.
        """
        device = self._model.device
        indices = torch.from_numpy(neurons.astype(np.int64)).to(device)
        columns = torch.searchsorted(self._neurons[layer], indices)
        counts = torch.from_numpy(self._counts).to(device)
        return self._sums[layer].index_select(1, columns), counts
