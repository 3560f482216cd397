"""Related neurons and tokens by weight."""

from dataclasses import dataclass

from db.rows import NeuronRows
from db.tables.connections import related_neurons_table, related_tokens_table


@dataclass(frozen=True, slots=True)
class RelatedNeuronsRow:
    """Neurons that a neuron's weights connect it to, in one direction."""

    run_id: int
    layer: int
    neuron: int
    direction: str
    layers: list[int]
    neurons: list[int]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class RelatedTokensRow:
    """Tokens that a neuron's weights connect it to, in one direction."""

    run_id: int
    layer: int
    neuron: int
    direction: str
    tokens: list[int]
    weights: list[float]


related_neurons = NeuronRows(related_neurons_table, RelatedNeuronsRow)
related_tokens = NeuronRows(related_tokens_table, RelatedTokensRow)
