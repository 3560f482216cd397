"""Direct effects: what each term of the residual stream adds to the logit of the next token.

The residual stream at a position is a sum of terms, and the final layer norm, with its standard
deviation held fixed, is linear in it: so the effects of all terms add up.
"""

from dataclasses import dataclass

import torch
from transformers import GPT2Model


@dataclass(frozen=True, slots=True)
class DirectEffects:
    """The direct effect of every component, float64.

    Attributes:
        neurons: (n_layers, d_mlp).
        heads: (n_layers, n_heads).
        attention_biases: Of the attention's output, (n_layers,).
        mlp_biases: Of the MLP's output, (n_layers,).
        token: Of the embedding of the last token.
        position: Of the embedding of its position.
        final_bias: Of the final layer norm's bias.
    """

    neurons: torch.Tensor
    heads: torch.Tensor
    attention_biases: torch.Tensor
    mlp_biases: torch.Tensor
    token: float
    position: float
    final_bias: float

    def sum(self) -> float:
        """Return the sum of all, which is the logit difference."""
        by_layer = (self.neurons, self.heads, self.attention_biases, self.mlp_biases)
        single = self.token + self.position + self.final_bias
        return float(sum(part.sum() for part in by_layer)) + single


@dataclass(frozen=True, slots=True)
class ResidualTerms:
    """The residual stream at the last position of a text, by what its terms are made from.

    Attributes:
        token: The last one.
        position: Its place in the text.
        activations: Of each layer's neurons, (d_mlp,).
        heads: What each layer's heads bring, one after the other, before the output matrix,
            (d_model,).
        sum: The whole stream, as it enters the final layer norm, (d_model,).
    """

    token: int
    position: int
    activations: list[torch.Tensor]
    heads: list[torch.Tensor]
    sum: torch.Tensor


@torch.no_grad()
def direct_effects(
    model: GPT2Model, terms: ResidualTerms, direction: torch.Tensor
) -> DirectEffects:
    """Return the direct effects of all terms.

    Args:
        model: The subject.
        terms: As they were in its forward pass.
        direction: What is read from the last hidden state, float64 (d_model,).
    """
    reading = _Reading(model, terms, direction)
    layers = range(len(model.h))
    return DirectEffects(
        neurons=torch.stack([reading.neurons(layer) for layer in layers]),
        heads=torch.stack([reading.heads(layer) for layer in layers]),
        attention_biases=torch.stack([reading.of(f"h.{n}.attn.c_proj.bias") for n in layers]),
        mlp_biases=torch.stack([reading.of(f"h.{n}.mlp.c_proj.bias") for n in layers]),
        token=float(reading.of("wte.weight", terms.token)),
        position=float(reading.of("wpe.weight", terms.position)),
        final_bias=float(exact(model.get_parameter("ln_f.bias")) @ direction),
    )


class _Reading:
    """Reads terms by a direction, through the final layer norm."""

    def __init__(self, model: GPT2Model, terms: ResidualTerms, direction: torch.Tensor) -> None:
        self._model, self._terms = model, terms
        epsilon = float(model.config.layer_norm_epsilon)
        deviation = (exact(terms.sum).var(correction=0) + epsilon).sqrt()
        read = exact(model.get_parameter("ln_f.weight")) * direction
        # Read by a direction without a mean, a term is centred as the norm would do it.
        self._read = (read - read.mean()) / deviation

    def of(self, parameter: str, row: int | None = None) -> torch.Tensor:
        """Return the effects of a parameter's rows, or of one of them, as they are."""
        values = self._model.get_parameter(parameter).detach()
        return exact(values if row is None else values[row]) @ self._read

    def neurons(self, layer: int) -> torch.Tensor:
        return exact(self._terms.activations[layer]) * self.of(f"h.{layer}.mlp.c_proj.weight")

    def heads(self, layer: int) -> torch.Tensor:
        parts = exact(self._terms.heads[layer]) * self.of(f"h.{layer}.attn.c_proj.weight")
        return parts.reshape(int(self._model.config.n_head), -1).sum(dim=1)


def exact(values: torch.Tensor) -> torch.Tensor:
    """Return values in float64, which Apple's MPS does not have: they come from it to the CPU."""
    return (values.cpu() if values.device.type == "mps" else values).double()
