"""Which components of a subject model bring about the logit of the next token after a text.

Effects are on the logit difference: the logit of a token minus that of another one, or minus the
mean of all. With U the unembedding, g and b the gain and bias of the final layer norm, and s its
standard deviation at the last position p:

    direct effect of c, a term of the residual stream at p:  (c - mean(c)) / s . (g * (U[t] - U[v]))
    estimated effect of neuron n at a position:  (a - baseline) * d logit difference / d a

Direct effects hold s fixed. With b . (U[t] - U[v]) they add up to the logit difference, since every
term of the residual stream is one. Estimated effects hold nothing fixed: a first-order estimate of
what the baseline in place of the activation would take away.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from transformers import GPT2Model

from neurogloss.neurons.records import IntArray
from neurogloss.subject.direct_effects import (
    DirectEffects,
    ResidualTerms,
    direct_effects,
    exact,
)
from neurogloss.subject.kernels import pinned_kernels
from neurogloss.subject.onednn import without_onednn


@dataclass(frozen=True, slots=True)
class TextPass:
    """One forward and backward pass of a text.

    Attributes:
        logits: After the last position, float64 (vocabulary,).
        target: The token whose logit is explained.
        versus: The one that it is held against; None is the mean of all.
        activations: Of each layer's neurons, (n_tokens, d_mlp), on the model's device.
        gradients: Of the logit difference by them, of the same shapes.
    """

    logits: torch.Tensor
    target: int
    versus: int | None
    logit_difference: float
    direct: DirectEffects
    activations: list[torch.Tensor]
    gradients: list[torch.Tensor]

    def probability(self, token: int) -> float:
        """Return the probability of a token to come next."""
        return float(self.logits.softmax(dim=0)[token])

    def estimated(self, layer: int, baseline: torch.Tensor) -> torch.Tensor:
        """Return the estimated effects of a layer's neurons, (n_tokens, d_mlp).

        `baseline` is (d_mlp,) or a single number.
        """
        return (self.activations[layer] - baseline) * self.gradients[layer]


class TextReader:
    """A subject model that reads texts, of which the effects of its components are computed.

    Args:
        model: The subject, float32 or float64.
        unembedding: (vocabulary, d_model), as `load_unembedding` returns it.
    """

    def __init__(self, model: GPT2Model, unembedding: torch.Tensor) -> None:
        self.model, self._unembedding = model, unembedding
        self._mean_logit = exact(unembedding.mean(dim=0))  # the direction of the mean of all

    def read(
        self, tokens: IntArray, target: int | None = None, versus: int | None = None
    ) -> TextPass:
        """Run a text through the model and back.

        Args:
            tokens: int (n_tokens,), no more than the model has positions.
            target: The token to explain. Default: the likeliest.
            versus: The token that it is held against. Default: the mean of all.
        """
        with _kept(self.model) as kept, torch.enable_grad():
            hidden = self._forward(tokens)
            logits = _logits(hidden.detach(), self._unembedding)
            chosen = int(logits.argmax()) if target is None else target
            direction = self._direction(chosen, versus)
            # In the model's type, for the gradients; its value is computed in float64 below.
            difference = hidden @ direction.to(hidden)
            gradients = torch.autograd.grad(difference, kept.activations)
        with torch.no_grad():
            terms = kept.terms(tokens)
            direct = direct_effects(self.model, terms, direction)
        activations = [activation[0].detach() for activation in kept.activations]
        return TextPass(
            logits=logits,
            target=chosen,
            versus=versus,
            logit_difference=float(exact(hidden.detach()) @ direction),
            direct=direct,
            activations=activations,
            gradients=[gradient[0] for gradient in gradients],
        )

    def _forward(self, tokens: IntArray) -> torch.Tensor:
        """Return the last hidden state at the last position, (d_model,), with its graph."""
        ids = torch.from_numpy(tokens).to(self.model.device, torch.int64)
        # The weights need no gradients, so what they are asked for begins here.
        embedded = self.model.wte(ids[None]).requires_grad_()
        hidden: torch.Tensor = self.model(inputs_embeds=embedded, use_cache=False)[0][0, -1]
        return hidden

    def _direction(self, target: int, versus: int | None) -> torch.Tensor:
        """Return what the logit difference reads from the last hidden state, float64 (d_model,)."""
        against = self._mean_logit if versus is None else exact(self._unembedding[versus])
        return exact(self._unembedding[target]) - against

    @torch.no_grad()
    def ablated(
        self, tokens: IntArray, of: TextPass, sets: Sequence["NeuronValues"], at_once: int = 32
    ) -> "AblatedOutputs":
        """Return what the model says with each set of neurons at other values.

        Args:
            tokens: Those of the text.
            of: The pass of the text, which says what is measured.
            sets: Each is tried by itself.
            at_once: How many are tried in one forward pass.
        """
        direction = self._direction(of.target, of.versus)
        ids = torch.from_numpy(tokens).to(self.model.device, torch.int64)
        outputs = AblatedOutputs([], [], [])
        for start in range(0, len(sets), at_once):
            some = sets[start : start + at_once]
            # The products of the pass, so that what differs is due to the neurons alone.
            with (
                pinned_kernels(self.model),
                without_onednn(self.model),
                _replaced(self.model, some),
            ):
                states = self.model(input_ids=ids.repeat(len(some), 1), use_cache=False)[0]
            for hidden in states[:, -1]:
                logits = _logits(hidden, self._unembedding)
                outputs.logit_differences.append(float(exact(hidden) @ direction))
                outputs.logits.append(float(logits[of.target]))
                outputs.probabilities.append(float(logits.softmax(dim=0)[of.target]))
        return outputs


@dataclass(frozen=True, slots=True)
class AblatedOutputs:
    """The logit difference, and logit and probability of the target, for each set of neurons."""

    logit_differences: list[float]
    logits: list[float]
    probabilities: list[float]


@dataclass(frozen=True, slots=True)
class NeuronValues:
    """Neurons that are set to a value each, at one position, or at all where it is None."""

    layers: Sequence[int]
    neurons: Sequence[int]
    positions: Sequence[int | None]
    values: Sequence[float]

    def in_layer(self, layer: int) -> Iterator[tuple[int, int | None, float]]:
        """Yield (neuron, position, value) of those in a layer."""
        rows = zip(self.layers, self.neurons, self.positions, self.values, strict=True)
        for of_layer, neuron, position, value in rows:
            if of_layer == layer:
                yield neuron, position, value


class _Kept:
    """What hooks keep of a forward pass, of batch 1."""

    def __init__(self) -> None:
        self.activations: list[torch.Tensor] = []  # (1, n_tokens, d_mlp) each
        self.heads: list[torch.Tensor] = []  # their values before the output matrix, (d_model,)
        self.last = torch.empty(0)  # the residual stream that enters the final norm, (d_model,)

    def terms(self, tokens: IntArray) -> ResidualTerms:
        """Return the terms of the residual stream at the last position."""
        return ResidualTerms(
            token=int(tokens[-1]),
            position=len(tokens) - 1,
            activations=[activation[0, -1].detach() for activation in self.activations],
            heads=self.heads,
            sum=self.last,
        )

    def keep_activations(self, module: torch.nn.Module, args: object, output: torch.Tensor) -> None:
        self.activations.append(output)

    def keep_heads(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        self.heads.append(args[0][0, -1].detach())

    def keep_last(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        self.last = args[0][0, -1].detach()


@contextmanager
def _kept(model: GPT2Model) -> Iterator[_Kept]:
    """Keep what the forward passes show, for one in the context; products have derivatives."""
    kept = _Kept()
    with ExitStack() as opened:
        opened.enter_context(pinned_kernels(model))
        opened.enter_context(without_onednn(model))
        for layer in range(len(model.h)):
            act = model.get_submodule(f"h.{layer}.mlp.act")
            opened.callback(act.register_forward_hook(kept.keep_activations).remove)
            output = model.get_submodule(f"h.{layer}.attn.c_proj")
            opened.callback(output.register_forward_pre_hook(kept.keep_heads).remove)
        opened.callback(model.ln_f.register_forward_pre_hook(kept.keep_last).remove)
        yield kept


@contextmanager
def _replaced(model: GPT2Model, sets: Sequence[NeuronValues]) -> Iterator[None]:
    """Set neurons to values in forward passes of a batch, whose row i has those of set i."""
    layers = {layer for one in sets for layer in one.layers}
    with ExitStack() as opened:
        for layer in layers:
            hook = partial(_replace, [list(one.in_layer(layer)) for one in sets])
            act = model.get_submodule(f"h.{layer}.mlp.act")
            opened.callback(act.register_forward_hook(hook).remove)
        yield


def _replace(
    rows: Sequence[Sequence[tuple[int, int | None, float]]],
    module: torch.nn.Module,
    args: object,
    output: torch.Tensor,
) -> torch.Tensor:
    changed = output.clone()
    for place, neurons in enumerate(rows):
        for neuron, position, value in neurons:
            where = slice(None) if position is None else position
            changed[place, where, neuron] = value
    return changed


def _logits(hidden: torch.Tensor, unembedding: torch.Tensor) -> torch.Tensor:
    """Return the logits of a hidden state, float64 (vocabulary,)."""
    return exact(unembedding @ hidden)
