"""Direct connections by weights in a subject model, by the definitions of OpenAI's data sets.

    neuron m of layer k to neuron n of layer l:  W_out[k][m] @ diag(ln_2[l].g) @ W_in[l][:, n]
    token t to neuron n of layer l:              wte[t] @ diag(ln_2[l].g) @ W_in[l][:, n]
    neuron n of layer l to token t:              W_out[l][n] @ diag(ln_f.g) @ wte[t]

Attention, biases, and the centring and scaling of layer norms are left out.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import pad
from transformers import GPT2Model

from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.subject.core_threads import core_threads, n_threads

BLOCK = 8192  # candidates multiplied at a time, which bounds the memory of the products
_CHUNK = 64  # candidates of a row that are looked at again if one of them may be kept
_CPU_ROWS = 512  # at a time: their products with a block are 17 MB, which a cache may hold


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
            tokens: Token ids, int (n_neurons, n).
        """
        # Of the whole vocabulary: the same product whatever the records are, so that its bits are
        # the same too. Gathering the embeddings of all tokens would take longer.
        of_tokens = self.input_directions(layer, neurons) @ self.embedding().T  # (neuron, token)
        on_device = torch.from_numpy(tokens.astype(np.int64)).to(of_tokens.device)
        return of_tokens.gather(1, on_device).cpu().numpy()

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
    # On the CPU few rows at a time: products that have left its cache take longer to be read again
    # than to be computed. The groups are the same for any number of threads, as are the bits.
    size = _CPU_ROWS if rows.device.type == "cpu" else max(1, len(rows))
    groups = [_RowGroup(group, n) for group in torch.split(rows, size)]
    n_shares = n_threads(rows.device)
    shares = [_Share(groups[place::n_shares]) for place in range(min(n_shares, len(groups)))]
    with core_threads(rows.device) as threads:
        for first, matrix in candidates:
            for start in range(0, len(matrix), BLOCK):
                on_block()
                block = matrix[start : start + BLOCK]
                list(threads.map(partial(_Share.offer, block=block, first=first + start), shares))
    found = [group.found() for group in groups]
    return StrongestConnections(*map(np.concatenate, zip(*found, strict=True)))


class _Share:
    """The rows of one thread, in groups."""

    def __init__(self, groups: Sequence["_RowGroup"]) -> None:
        self._groups = groups
        rows = groups[0].rows
        # One buffer for all products: fresh memory costs as much as they do.
        self._buffer = rows.new_empty(len(rows) * _n_chunks(BLOCK) * _CHUNK)

    @torch.inference_mode()  # which holds for the thread that enters it
    def offer(self, block: torch.Tensor, first: int) -> None:
        for group in self._groups:
            group.offer(block, first, self._buffer)


def _n_chunks(n_candidates: int) -> int:
    return -(-n_candidates // _CHUNK)


class _RowGroup:
    """The candidates with the highest and the lowest products with each of some rows, so far."""

    def __init__(self, rows: torch.Tensor, n: int) -> None:
        self.rows = rows
        self._highest, self._lowest = (
            _Highest(len(rows), n, sign, rows.device) for sign in (1, -1)
        )

    def offer(self, block: torch.Tensor, first: int, buffer: torch.Tensor) -> None:
        """Multiply the rows with a block of candidates, and keep the strongest."""
        shape = (len(self.rows), _n_chunks(len(block)), _CHUNK)
        chunks = buffer[: prod(shape)].view(shape)
        products = chunks.flatten(1)
        products[:, len(block) :] = 0  # which is never kept
        torch.mm(self.rows, block.T, out=products[:, : len(block)])
        self._highest.offer(chunks, first)
        self._lowest.offer(chunks, first)

    def found(self) -> StrongestConnections:
        up, down = self._highest.sorted(), self._lowest.sorted()
        return StrongestConnections(
            np.concatenate([up.candidates, down.candidates[:, ::-1]], axis=1),
            np.concatenate([up.weights, -down.weights[:, ::-1]], axis=1),
        )


class _Highest:
    """The `n` candidates with the highest positive weights for each row, so far.

    Weights are products times a sign, 1 or -1.
    """

    def __init__(self, n_rows: int, n: int, sign: int, device: torch.device) -> None:
        self._n, self._sign = n, sign
        self._weights = torch.zeros((n_rows, n), device=device)
        self._candidates = torch.full((n_rows, n), -1, dtype=torch.int64, device=device)

    def offer(self, chunks: torch.Tensor, first: int) -> None:
        """Keep what is among the highest so far.

        Args:
            chunks: Products, (n_rows, n_chunks, _CHUNK).
            first: The number of the first candidate.
        """
        maxima = chunks.amax(2) if self._sign > 0 else chunks.amin(2).neg_()
        floor = self._floor(maxima)
        row, chunk = self._may_stay(maxima, floor, slice(None)).nonzero(as_tuple=True)
        # Few chunks hold anything to keep, and only these are read again.
        weights = self._sign * chunks[row, chunk]
        which, place = self._may_stay(weights, floor, row).nonzero(as_tuple=True)
        candidates = first + chunk[which] * _CHUNK + place
        self._merge(row[which], weights[which, place], candidates)

    def _floor(self, maxima: torch.Tensor) -> torch.Tensor:
        """Return a weight for each row, (n_rows, 1), that none of the highest is below."""
        if maxima.shape[1] < self._n or self._weights[:, -1].any():
            return self._weights[:, -1:]
        # At first nothing is known yet: n of the weights are as high as the maxima of n chunks.
        return maxima.topk(self._n, dim=1).values[:, -1:]

    def _may_stay(
        self, weights: torch.Tensor, floor: torch.Tensor, row: torch.Tensor | slice
    ) -> torch.Tensor:
        """Return which weights of rows, (n_rows, any), may be among the highest, bool."""
        # Not `>` and `>=`: NaN counts as the highest, as it does for `topk`.
        is_low = (weights <= self._weights[row, -1:]) | (weights < floor[row])
        return is_low.logical_not_()

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
