"""The step `connections` of collect: the neurons and tokens that a layer's weights connect.

It reads weights only, so it waits for no other step, and no other step waits for it.
"""

from collections.abc import Iterable, Iterator

import torch

from db import runs
from db.connections import (
    RelatedNeuronsRow,
    RelatedTokensRow,
    related_neurons,
    related_tokens,
)
from db.session import transaction
from neurogloss.subject.model import mlp_width
from neurogloss.subject.weights import (
    ResidualWeights,
    StrongestConnections,
    n_blocks_of,
    strongest_connections,
)
from worker.shard import ClaimedShard
from worker.stages.forward_pass import interruption_check, subject_of

Key = tuple[int, int, int, str]
Candidates = Iterable[tuple[int, torch.Tensor]]


def connect(shard: ClaimedShard) -> None:
    """Find the related neurons and tokens of a layer's neurons."""
    search = _Search(shard)
    neurons, tokens = search.related_neurons(), search.related_tokens()
    with shard.committing() as connection:
        related_neurons.save(connection, neurons)
        related_tokens.save(connection, tokens)


class _Search:
    """The search for the strongest connections of one layer's neurons."""

    def __init__(self, shard: ClaimedShard) -> None:
        model = subject_of(shard)
        self._shard, self._layer = shard, shard.claim.layer
        self._weights, self._per_layer = ResidualWeights(model), mlp_width(model)
        with transaction(shard.engine) as connection:
            self._neurons = runs.neurons_in(connection, shard.claim.run_id, self._layer)
        self._reads = self._weights.input_directions(self._layer)[self._neurons]
        self._writes = self._weights.output_directions(self._layer)[self._neurons]
        others = self._weights.n_layers - 1
        n_blocks = others * n_blocks_of(self._per_layer)
        n_blocks += 2 * n_blocks_of(len(self._weights.embedding()))
        self._check = interruption_check(shard, n_blocks)

    def related_neurons(self) -> list[RelatedNeuronsRow]:
        """Return the neurons before and after the layer that its neurons are connected to."""
        weights, n = self._weights, self._shard.config.connections.neurons
        before, after = range(self._layer), range(self._layer + 1, weights.n_layers)
        upstream = ((layer * self._per_layer, weights.output_directions(layer)) for layer in before)
        downstream = ((layer * self._per_layer, weights.input_directions(layer)) for layer in after)
        return [
            *self._neuron_rows("upstream", self._reads, upstream, n),
            *self._neuron_rows("downstream", self._writes, downstream, n),
        ]

    def _neuron_rows(
        self, direction: str, own: torch.Tensor, candidates: Candidates, n: int
    ) -> Iterator[RelatedNeuronsRow]:
        for key, places, weights in self._strongest(direction, own, candidates, n):
            layers = [place // self._per_layer for place in places]
            neurons = [place % self._per_layer for place in places]
            yield RelatedNeuronsRow(*key, layers, neurons, weights)

    def related_tokens(self) -> list[RelatedTokensRow]:
        """Return the tokens that drive the layer's neurons, and those that they drive."""
        weights, n = self._weights, self._shard.config.connections.tokens
        inputs = self._strongest("input", self._reads, [(0, weights.embedding())], n)
        outputs = self._strongest("output", self._writes, [(0, weights.unembedding())], n)
        return [
            RelatedTokensRow(*key, tokens, of_tokens)
            for direction in (inputs, outputs)
            for key, tokens, of_tokens in direction
        ]

    def _strongest(
        self, direction: str, own: torch.Tensor, candidates: Candidates, n: int
    ) -> Iterator[tuple[Key, list[int], list[float]]]:
        """Yield the key, the candidates and their weights for each neuron."""
        if n == 0:
            return
        found: StrongestConnections = strongest_connections(own, candidates, n, self._check)
        # As lists: hundreds of thousands of small arrays would take longer than the search.
        of_neurons = zip(self._neurons, *(column.tolist() for column in found), strict=True)
        for neuron, places, weights in of_neurons:
            key = (self._shard.claim.run_id, self._layer, neuron, direction)
            if 0 in weights:  # fewer candidates than places: the rest names nothing
                places = [place for place, weight in zip(places, weights, strict=True) if weight]
                weights = [weight for weight in weights if weight]
            yield key, places, weights
