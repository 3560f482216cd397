"""The step `connections` of collect: what the weights of a layer's neurons connect them to.

It reads no text, so it waits for nothing and nothing waits for it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from db import connections, runs
from db.session import transaction
from neurogloss.subject.model import mlp_width
from neurogloss.subject.weights import ResidualWeights, StrongestConnections, strongest_connections
from worker.shard import ClaimedShard
from worker.stages.forward_pass import go_on, subject_of

Rows = list[tuple[Any, ...]]
Candidates = Iterable[tuple[int, torch.Tensor]]


def connect(shard: ClaimedShard) -> None:
    """Find the related neurons and tokens of a layer's neurons."""
    search = _Search(shard)
    neurons, tokens = search.related_neurons(), search.related_tokens()
    with shard.committing() as connection:
        connections.save_related_neurons(connection, neurons)
        connections.save_related_tokens(connection, tokens)


class _Search:
    """The search for what one layer's neurons are connected to."""

    def __init__(self, shard: ClaimedShard) -> None:
        model = subject_of(shard)
        self._work, self._layer = shard, shard.claim.layer
        self._weights, self._per_layer = ResidualWeights(model), mlp_width(model)
        with transaction(shard.engine) as connection:
            self._neurons = runs.neurons_in(connection, shard.claim.run_id, self._layer)
        self._reads = self._weights.input_directions(self._layer)[self._neurons]
        self._writes = self._weights.output_directions(self._layer)[self._neurons]

    def related_neurons(self) -> Rows:
        """Return the rows of `related_neurons`."""
        weights, n = self._weights, self._work.config.connections.neurons
        before, after = range(self._layer), range(self._layer + 1, weights.n_layers)
        upstream = ((layer * self._per_layer, weights.output_directions(layer)) for layer in before)
        downstream = ((layer * self._per_layer, weights.input_directions(layer)) for layer in after)
        return [
            *self._neuron_rows("upstream", self._reads, upstream, n),
            *self._neuron_rows("downstream", self._writes, downstream, n),
        ]

    def _neuron_rows(
        self, direction: str, own: torch.Tensor, candidates: Candidates, n: int
    ) -> Iterator[tuple[Any, ...]]:
        for key, found, weights in self._found(direction, own, candidates, n):
            layers, neurons = np.divmod(found, self._per_layer)
            yield (*key, layers.tolist(), neurons.tolist(), weights.tolist())

    def related_tokens(self) -> Rows:
        """Return the rows of `related_tokens`."""
        weights, n = self._weights, self._work.config.connections.tokens
        inputs = self._found("input", self._reads, [(0, weights.embedding())], n)
        outputs = self._found("output", self._writes, [(0, weights.unembedding())], n)
        return [
            (*key, tokens.tolist(), found.tolist())
            for direction in (inputs, outputs)
            for key, tokens, found in direction
        ]

    def _found(
        self, direction: str, own: torch.Tensor, candidates: Candidates, n: int
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the key, the candidates (n_found,) and their weights for each neuron."""
        if n == 0:
            return
        found: StrongestConnections = strongest_connections(own, candidates, n, go_on(self._work))
        for neuron, row, weights in zip(self._neurons, *found, strict=True):
            key = (self._work.claim.run_id, self._layer, neuron, direction)
            yield key, row[weights != 0], weights[weights != 0]
