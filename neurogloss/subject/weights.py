"""Direct connections by weights in a subject model, by the definitions of OpenAI's data sets.

    neuron m of layer k to neuron n of layer l:  W_out[k][m] @ diag(ln_2[l].g) @ W_in[l][:, n]
    token t to neuron n of layer l:              wte[t] @ diag(ln_2[l].g) @ W_in[l][:, n]
    neuron n of layer l to token t:              W_out[l][n] @ diag(ln_f.g) @ wte[t]

Attention, biases, and the centring and scaling of layer norms are left out.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import pad
from transformers import GPT2Model

from neurogloss.neurons.records import FloatArray, IntArray

BLOCK = 4096  # candidates multiplied at a time, which bounds the memory of the products
_CHUNK = 64  # candidates of a row that are looked at again if one of them may be kept
_MOST_CHUNKS = 8  # of a row on average, above which `topk` of all is the quicker way


def n_blocks_of(n_candidates: int) -> int:
    """Return in how many blocks candidates are multiplied."""
    return -(-n_candidates // BLOCK)


class StrongestConnections(NamedTuple):
    """The candidates with the n highest and the n lowest weights for each row, (n_rows, 2 * n).

    `candidates` is int64, `weights` float32 in descending order. Where fewer than n weights are
    positive, or negative, the remaining places have weight 0.
    """

    candidates: IntArray
    weights: FloatArray


class ResidualWeights:
    """The weights by which a subject model reads from and writes to its residual stream, float32.

    Scales of layer norms are folded into the directions that read.
    """

    def __init__(self, model: GPT2Model) -> None:
        self._model = model
        self.n_layers = int(model.config.n_layer)

    def input_directions(self, layer: int, neurons: IntArray | None = None) -> torch.Tensor:
        """Return the direction that each neuron of a layer reads, (n_neurons, d_model).

        Of all neurons, unless some are named, int (n_neurons,).
        """
        w_in = self._parameter(f"h.{layer}.mlp.c_fc.weight")  # (d_model, d_mlp)
        if neurons is not None:
            w_in = w_in[:, torch.from_numpy(neurons.astype(np.int64)).to(w_in.device)]
        return (w_in * self._parameter(f"h.{layer}.ln_2.weight")[:, None]).T.contiguous()

    def output_directions(self, layer: int) -> torch.Tensor:
        """Return the direction that each neuron of a layer writes, (d_mlp, d_model)."""
        return self._parameter(f"h.{layer}.mlp.c_proj.weight")

    def embedding(self) -> torch.Tensor:
        """Return the direction that each token writes, (vocabulary, d_model)."""
        return self._parameter("wte.weight")

    def unembedding(self) -> torch.Tensor:
        """Return the direction that each token's logit reads, (vocabulary, d_model)."""
        return self.embedding() * self._parameter("ln_f.weight")

    @torch.inference_mode()
    def token_input_weights(self, layer: int, neurons: IntArray, tokens: IntArray) -> FloatArray:
        """Return each neuron's input weights from its tokens, float32 in the shape of `tokens`.

        Args:
            layer: The neurons' layer.
            neurons: int (n_neurons,).
            tokens: Token ids, int (n_neurons, n_records, n_tokens).
        """
        reads, embedding = self.input_directions(layer, neurons), self.embedding()
        on_device = torch.from_numpy(tokens.astype(np.int64)).to(embedding.device)
        # Record by record: the embeddings of all records at once would be large.
        weights = [
            torch.einsum("ntd,nd->nt", embedding[record], reads) for record in on_device.unbind(1)
        ]
        return torch.stack(weights, dim=1).cpu().numpy()

    def _parameter(self, name: str) -> torch.Tensor:
        return self._model.get_parameter(name).detach().to(torch.float32)


@torch.inference_mode()
def strongest_connections(
    rows: torch.Tensor,
    candidates: Iterable[tuple[int, torch.Tensor]],
    n: int,
    on_block: Callable[[], None] = lambda: None,
) -> StrongestConnections:
    """Return the candidates with the highest and the lowest dot products with each row.

    Only one block of products is held at a time. Equal weights are sorted by candidate.

    Args:
        rows: Directions, (n_rows, d_model).
        candidates: Matrices (n_candidates, d_model), each with the number of its first candidate.
        n: How many candidates to keep of each sign.
        on_block: Called before each block; an exception that it raises ends the search.
    """
    highest, lowest = (
        _HighestWeights(len(rows), n, rows.device),
        _HighestWeights(len(rows), n, rows.device),
    )
    # One buffer for all blocks: fresh memory costs as much as the products themselves.
    buffer = rows.new_empty(len(rows) * BLOCK)
    for first, matrix in candidates:
        for start in range(0, len(matrix), BLOCK):
            on_block()
            block = matrix[start : start + BLOCK].T
            products = buffer[: len(rows) * block.shape[1]].view(len(rows), -1)
            torch.mm(rows, block, out=products)
            highest.offer(products, first + start)
            lowest.offer(products.neg_(), first + start)
    up, down = highest.sorted(), lowest.sorted()
    return StrongestConnections(
        np.concatenate([up.candidates, down.candidates[:, ::-1]], axis=1),
        np.concatenate([up.weights, -down.weights[:, ::-1]], axis=1),
    )


class _HighestWeights:
    """The `n` candidates with the highest positive weights for each row, so far."""

    def __init__(self, n_rows: int, n: int, device: torch.device) -> None:
        self._n = n
        self._weights = torch.zeros((n_rows, n), device=device)
        self._candidates = torch.full((n_rows, n), -1, dtype=torch.int64, device=device)

    def offer(self, products: torch.Tensor, first: int) -> None:
        """Keep those products, (n_rows, n_candidates), that are among the highest so far."""
        # Not `>`: NaN counts as the highest, as it does for `topk`.
        bars = self._weights[:, -1:]
        row, chunk = (_chunk_maxima(products) <= bars).logical_not_().nonzero(as_tuple=True)
        if len(row) > _MOST_CHUNKS * len(products):  # in the first blocks
            self._keep_highest(products, first)
            return
        # After them few chunks hold anything to keep, and only these are read again.
        column = chunk[:, None] * _CHUNK + torch.arange(_CHUNK, device=row.device)
        values = products[row[:, None], column.clamp(max=products.shape[1] - 1)]
        is_kept = (values <= bars[row]).logical_not_() & (column < products.shape[1])
        self._merge(
            row[:, None].expand_as(column)[is_kept], values[is_kept], first + column[is_kept]
        )

    def _keep_highest(self, products: torch.Tensor, first: int) -> None:
        highest = products.topk(min(self._n, products.shape[1]), dim=1)
        weights = torch.cat([self._weights, highest.values], dim=1)
        candidates = torch.cat([self._candidates, highest.indices + first], dim=1)
        self._weights, places = weights.topk(self._n, dim=1)
        self._candidates = candidates.gather(1, places)

    def _merge(self, row: torch.Tensor, weight: torch.Tensor, candidate: torch.Tensor) -> None:
        """Merge candidates (n,) of rows, in the order of the rows, with those that are kept."""
        rows, counts = torch.unique_consecutive(row, return_counts=True)
        if not len(rows):
            return
        of_row = torch.arange(len(rows), device=row.device).repeat_interleave(counts)
        firsts = counts.cumsum(0) - counts
        places = self._n + torch.arange(len(row), device=row.device) - firsts[of_row]
        room = (0, int(counts.max()))
        weights = pad(self._weights[rows], room)
        candidates = pad(self._candidates[rows], room, value=-1)
        weights[of_row, places], candidates[of_row, places] = weight, candidate
        self._weights[rows], best = weights.topk(self._n, dim=1)
        self._candidates[rows] = candidates.gather(1, best)

    def sorted(self) -> StrongestConnections:
        weights, candidates = self._weights.cpu().numpy(), self._candidates.cpu().numpy()
        order = np.lexsort((candidates, -weights), axis=1)
        return StrongestConnections(
            np.take_along_axis(candidates, order, 1), np.take_along_axis(weights, order, 1)
        )


def _chunk_maxima(products: torch.Tensor) -> torch.Tensor:
    """Return the maxima of each `_CHUNK` columns, (n_rows, n_chunks); the last may be fewer."""
    n_whole = products.shape[1] // _CHUNK
    whole, rest = products[:, : n_whole * _CHUNK], products[:, n_whole * _CHUNK :]
    maxima = [whole.reshape(-1, n_whole, _CHUNK).amax(2)] if n_whole else []
    return torch.cat([*maxima, rest.amax(1, keepdim=True)] if rest.shape[1] else maxima, dim=1)
