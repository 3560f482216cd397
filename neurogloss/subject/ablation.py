"""Ablation scoring: how the output changes if a simulation replaces a neuron's activations.

The paper's method (#sec-ablation-scoring): outputs are compared by the Jensen-Shannon divergence of
the distributions over the next token, averaged over all tokens.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from transformers import GPT2Model

from neurogloss.neurons.codec import padded
from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.subject.kernels import pinned_kernels


@dataclass(frozen=True, slots=True)
class Divergences:
    """Mean divergences from the unchanged model, in nats, from 0 to ln 2.

    `simulated` is that with the simulation in place of the neuron, `mean` that with its mean.
    """

    simulated: float
    mean: float

    @property
    def score(self) -> float | None:
        """1 for a perfect simulation, 0 for one that is as good as the mean activation.

        None if the mean in place of the neuron changes nothing.
        """
        return 1 - self.simulated / self.mean if self.mean > 0 else None


@torch.inference_mode()
def ablate(
    model: GPT2Model,
    layer: int,
    neuron: int,
    tokens: Sequence[IntArray],
    simulated: Sequence[FloatArray],
    mean: float,
) -> Divergences:
    """Replace a neuron's activations by a simulation, and by the mean, and compare the outputs.

    Args:
        model: The subject; its embeddings are tied.
        layer: The neuron's layer.
        neuron: Its index in the layer.
        tokens: Of each excerpt, int (n_tokens,).
        simulated: Simulated activations on them, on the scale of the true ones.
        mean: The neuron's mean activation on the corpus.
    """
    # The padding comes last, where causal attention cannot see it, and is not compared.
    lengths = [len(excerpt) for excerpt in tokens]
    ids = torch.from_numpy(padded(tokens, 0).astype(np.int64)).to(model.device)
    residual: list[torch.Tensor] = []
    with _before_block(model, layer, residual.append):
        unchanged = _last_hidden(model, ids)
    means = []
    for values in (padded(simulated, 0), np.full(ids.shape, mean)):
        # Layers before the neuron's give the same residual stream, so they are not run again.
        with _from_block(model, layer, residual[0]), _in_place_of(model, layer, neuron, values):
            means.append(_mean_divergence(model, unchanged, _last_hidden(model, ids), lengths))
    return Divergences(*means)


def _last_hidden(model: GPT2Model, ids: torch.Tensor) -> torch.Tensor:
    """Return the last hidden state, (n_excerpts, n_tokens, d_model)."""
    with pinned_kernels(model):
        hidden: torch.Tensor = model(input_ids=ids, use_cache=False).last_hidden_state
    return hidden


@contextmanager
def _before_block(
    model: GPT2Model, layer: int, keep: Callable[[torch.Tensor], None]
) -> Iterator[None]:
    """Call `keep` with the residual stream, (batch, position, d_model), that enters a block."""

    def hook(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        keep(args[0])

    handle = model.get_submodule(f"h.{layer}").register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _from_block(model: GPT2Model, layer: int, residual: torch.Tensor) -> Iterator[None]:
    """Begin forward passes at a block, with a given residual stream as its input."""

    def hook(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (residual, *args[1:])

    blocks = model.h
    handle = blocks[layer].register_forward_pre_hook(hook)
    model.h = blocks[layer:]
    try:
        yield
    finally:
        model.h = blocks
        handle.remove()


@contextmanager
def _in_place_of(model: GPT2Model, layer: int, neuron: int, values: FloatArray) -> Iterator[None]:
    """Replace a neuron's activations while `_from_block` of its layer is open, as block 0."""
    # To the precision first: Apple's MPS has no float64.
    replaced = torch.from_numpy(values).to(model.dtype).to(model.device)

    def hook(module: torch.nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[..., neuron] = replaced
        return changed

    handle = model.get_submodule("h.0.mlp.act").register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _mean_divergence(
    model: GPT2Model, one: torch.Tensor, other: torch.Tensor, lengths: Sequence[int]
) -> float:
    """Return the mean divergence of two last hidden states, over all tokens of the excerpts."""
    # One excerpt at a time, as its distributions take n_tokens * vocabulary * 8 bytes.
    unembedding = _at_least_float32(model.wte.weight).T
    per_token = [
        divergences(_outputs(a[:length], unembedding), _outputs(b[:length], unembedding))
        for a, b, length in zip(one, other, lengths, strict=True)
    ]
    return float(torch.cat(per_token).mean())


def _outputs(hidden: torch.Tensor, unembedding: torch.Tensor) -> torch.Tensor:
    """Return distributions over the next token, float64 (n_tokens, vocabulary)."""
    logits = _at_least_float32(hidden) @ unembedding
    if logits.device.type == "mps":  # Apple's MPS has no float64
        logits = logits.cpu()
    # float64: the divergence of nearly equal distributions is tiny beside their probabilities.
    return logits.double().softmax(dim=-1)


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def divergences(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the Jensen-Shannon divergence of each row, in nats, (n,); exactly 0 for equal rows.

    Args:
        one: Distributions, (n, n_outcomes).
        other: Distributions of the same shape.
    """
    middle = (one + other) / 2
    apart = torch.where(middle > 0, (one - other) / (one + other), 0.0)  # from -1 to 1
    # p log(p/m) + q log(q/m) in a form without cancellation where p and q are nearly equal.
    terms = 2 * apart * apart.atanh() + torch.log1p(-apart * apart)
    terms = torch.where(apart.abs() == 1, 2 * math.log(2), terms)
    return (middle * terms).sum(dim=-1) / 2
