"""What the weights of a subject model connect directly, by the definitions of OpenAI's data sets.

    neuron m of layer k to neuron n of layer l:  W_out[k][m] @ diag(ln_2[l].g) @ W_in[l][:, n]
    token t to neuron n of layer l:              wte[t] @ diag(ln_2[l].g) @ W_in[l][:, n]
    neuron n of layer l to token t:              W_out[l][n] @ diag(ln_f.g) @ wte[t]

Attention, biases, and the centring and scaling of layer norms are left out.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from transformers import GPT2Model

from neurogloss.neurons.records import FloatArray, IntArray

BLOCK = 4096  # candidates compared at a time


class Strongest(NamedTuple):
    """The strongest candidates of each row, (n_rows, 2 * n): the n highest, then the n lowest.

    `candidates` is int64, `weights` float32, highest first. Where fewer than n weights are above 0,
    or below 0, the places left over have weight 0.
    """

    candidates: IntArray
    weights: FloatArray


class Weights:
    """The weights of a subject that write to and read from its residual stream, in float32."""

    def __init__(self, model: GPT2Model) -> None:
        self._model = model
        self.n_layers = int(model.config.n_layer)

    def reads(self, layer: int) -> torch.Tensor:
        """Return the direction that each neuron of a layer reads, (d_mlp, d_model)."""
        into = self._parameter(f"h.{layer}.mlp.c_fc.weight")  # (d_model, d_mlp)
        return (into * self._parameter(f"h.{layer}.ln_2.weight")[:, None]).T.contiguous()

    def writes(self, layer: int) -> torch.Tensor:
        """Return the direction that each neuron of a layer writes, (d_mlp, d_model)."""
        return self._parameter(f"h.{layer}.mlp.c_proj.weight")

    def embedding(self) -> torch.Tensor:
        """Return what each token writes, (vocabulary, d_model)."""
        return self._parameter("wte.weight")

    def unembedding(self) -> torch.Tensor:
        """Return the direction that each token's logit reads, (vocabulary, d_model)."""
        return self.embedding() * self._parameter("ln_f.weight")

    @torch.inference_mode()
    def expected_on(self, layer: int, neurons: IntArray, tokens: IntArray) -> FloatArray:
        """Return each neuron's input weight from each token, float32 in the shape of `tokens`.

        Args:
            layer: Of the neurons.
            neurons: Of shape (n_neurons,).
            tokens: Of shape (n_neurons, n_records, n_tokens).
        """
        reads, embedding = self.reads(layer)[neurons], self.embedding()
        on_device = torch.from_numpy(tokens.astype(np.int64)).to(embedding.device)
        # Record by record: the embeddings of all at once would be large.
        found = [
            torch.einsum("ntd,nd->nt", embedding[record], reads) for record in on_device.unbind(1)
        ]
        return torch.stack(found, dim=1).cpu().numpy()

    def _parameter(self, name: str) -> torch.Tensor:
        return self._model.get_parameter(name).detach().to(torch.float32)


@torch.inference_mode()
def strongest(
    rows: torch.Tensor,
    candidates: Iterable[tuple[int, torch.Tensor]],
    n: int,
    on_block: Callable[[], None] = lambda: None,
) -> Strongest:
    """Return which candidates have the highest and the lowest products with each row.

    Only a block of products is held at a time. Equal weights are sorted by candidate.

    Args:
        rows: (n_rows, d_model).
        candidates: Matrices (n_candidates, d_model), each with the number of its first candidate.
        n: How many to keep of each sign.
        on_block: Called before each block; what it raises ends the search.
    """
    highest, lowest = _Kept(len(rows), n, rows.device), _Kept(len(rows), n, rows.device)
    for first, matrix in candidates:
        for start in range(0, len(matrix), BLOCK):
            on_block()
            products = rows @ matrix[start : start + BLOCK].T
            highest.offer(products, first + start)
            lowest.offer(products.neg_(), first + start)
    up, down = highest.sorted(), lowest.sorted()
    return Strongest(
        np.concatenate([up.candidates, down.candidates[:, ::-1]], axis=1),
        np.concatenate([up.weights, -down.weights[:, ::-1]], axis=1),
    )


class _Kept:
    """The `n` candidates of the highest positive weight for each row, so far."""

    def __init__(self, n_rows: int, n: int, device: torch.device) -> None:
        self._n = n
        self._weights = torch.zeros((n_rows, n), device=device)
        self._candidates = torch.full((n_rows, n), -1, dtype=torch.int64, device=device)

    def offer(self, products: torch.Tensor, first: int) -> None:
        """Take what is above the lowest that is kept, in its place."""
        found = products.topk(min(self._n, products.shape[1]), dim=1)
        weights = torch.cat([self._weights, found.values], dim=1)
        candidates = torch.cat([self._candidates, found.indices + first], dim=1)
        self._weights, places = weights.topk(self._n, dim=1)
        self._candidates = candidates.gather(1, places)

    def sorted(self) -> Strongest:
        weights, candidates = self._weights.cpu().numpy(), self._candidates.cpu().numpy()
        order = np.lexsort((candidates, -weights), axis=1)
        return Strongest(
            np.take_along_axis(candidates, order, 1), np.take_along_axis(weights, order, 1)
        )
