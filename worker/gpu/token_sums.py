"""Sums of activations by token, from which the lookup tables are made."""

import numpy as np
import torch
from transformers import GPT2Model

from worker.gpu.subject import forward, mlp_width, on_activations
from worker.neurons.records import IntArray


class TokenSums:
    """Running sums for some layers over any number of batches.

    Memory is 8 bytes for each token of the vocabulary and neuron of the layers. Float64 holds sums
    of float16 exactly (multiples of 2^-24, below 2^29), so the order of the additions, which a GPU
    does not fix, is of no consequence.
    """

    def __init__(self, model: GPT2Model, layers: list[int]) -> None:
        size = (model.config.vocab_size, mlp_width(model))
        self._model, self._layers = model, layers
        self._sums = {
            layer: torch.zeros(size, dtype=torch.float64, device=model.device) for layer in layers
        }
        self._counts = np.zeros(model.config.vocab_size, dtype=np.int64)
        self._tokens = torch.empty(0)

    def add(self, tokens: IntArray) -> None:
        """Add one batch of excerpts, int32 (batch, excerpt_tokens)."""
        self._tokens = torch.from_numpy(tokens.astype(np.int64)).to(self._model.device)
        self._counts += np.bincount(tokens.ravel(), minlength=len(self._counts))
        with on_activations(self._model, self._layers, self._keep):
            forward(self._model, tokens)

    def _keep(self, layer: int, activations: torch.Tensor) -> None:
        rounded = activations.to(torch.float16)
        rounded = torch.where(rounded.isfinite(), rounded, 0).to(torch.float64)
        self._sums[layer].index_add_(0, self._tokens.flatten(), rounded.flatten(0, 1))

    def of_neurons(self, layer: int, neurons: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return sums, float64 (vocabulary, n_neurons), and counts, int64 (vocabulary,)."""
        sums, device = self._sums[layer], self._model.device
        columns = torch.from_numpy(neurons.astype(np.int64)).to(device)
        return sums.index_select(1, columns), torch.from_numpy(self._counts).to(device)
