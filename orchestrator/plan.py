"""What a run is made of: neurons, shards, totals. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from orchestrator.subject import Shape
from worker.neurons.selection import n_reference
from worker.neurons.tiles import whole_tiles
from worker.run_config import RunConfig

NEURON_STAGES = ("explain", "simulate", "score")
LOOKUP_BYTES = 8 << 30  # what the lookup tables of one shard's layers may take in a worker

ShardRow = tuple[
    str, str, int, int, int, int, str
]  # stage, step, layer, start, stop, weight, state


@dataclass(frozen=True, slots=True)
class Plan:
    """The neurons of a run by layer, and the shards that add up to it."""

    neurons: dict[int, list[int]]
    shards: list[ShardRow]

    @property
    def n_neurons(self) -> int:
        return sum(map(len, self.neurons.values()))

    def neuron_rows(self) -> Iterator[tuple[int, int]]:
        """Yield (layer, neuron) of every neuron."""
        return ((layer, neuron) for layer, found in self.neurons.items() for neuron in found)

    def totals(self) -> list[tuple[str, int, int]]:
        """Return (stage, layer, total): what the counters of each stage must add up to."""
        read = sum(weight for stage, *_, weight, _ in self.shards if stage == "collect")
        per_layer = [
            (stage, layer, len(found))
            for stage in NEURON_STAGES
            for layer, found in self.neurons.items()
        ]
        return [("collect", -1, read), *per_layer]


def make_plan(config: RunConfig, shape: Shape) -> Plan:
    """Return the plan of a run."""
    neurons = chosen_neurons(config, shape)
    shards = [
        *_collect_shards(config, shape, neurons),
        *_neuron_shards(neurons, config.shards.neurons),
    ]
    return Plan(neurons, shards)


def make_neuron_plan(config: RunConfig, neurons: dict[int, list[int]]) -> Plan:
    """Return the plan of a run over these neurons, whose records are there already."""
    return Plan(neurons, list(_neuron_shards(neurons, config.shards.neurons)))


def chosen_neurons(config: RunConfig, shape: Shape) -> dict[int, list[int]]:
    """Return the neurons that the run is about, by layer."""
    layers = range(shape.n_layers) if config.neurons.layers == "all" else config.neurons.layers
    everyone = list(range(shape.neurons_per_layer))
    if config.neurons.per_layer == "all":
        return {layer: everyone for layer in sorted(set(layers))}
    count = min(config.neurons.per_layer, shape.neurons_per_layer)
    return {
        layer: sorted(_sample(config.corpus.seed, layer, shape.neurons_per_layer, count))
        for layer in sorted(set(layers))
    }


def _sample(seed: int, layer: int, n: int, count: int) -> list[int]:
    found: list[int] = np.random.default_rng([seed, layer]).choice(n, count, replace=False).tolist()
    return found


def _collect_shards(
    config: RunConfig, shape: Shape, neurons: dict[int, list[int]]
) -> Iterator[ShardRow]:
    layers = list(neurons)
    n, size = config.corpus.excerpts, whole_tiles(config.shards.excerpts)
    reference = n_reference(n)
    for step, first, last in (("reference", 0, reference), ("read", reference, n)):
        state = "ready" if step == "reference" else "waiting"
        # Cut at whole tiles: a tile that two shards share is computed twice.
        edges = [first, *range((first // size + 1) * size, last, size), last]
        for start, stop in pairwise(edges):
            yield "collect", step, -1, start, stop, stop - start, state
    for step in ("boundaries", "select"):
        for layer in layers:
            yield "collect", step, layer, 0, shape.neurons_per_layer, 0, "waiting"
    if config.connections.neurons or config.connections.tokens:
        for layer in layers:
            yield "collect", "connections", layer, 0, shape.neurons_per_layer, 0, "waiting"
    if config.needs_lookup or config.scoring.baselines:
        step = "lookup" if config.needs_lookup else "baselines"  # for these nobody waits
        widest = max(map(len, neurons.values()))
        at_once = max(1, LOOKUP_BYTES // (8 * shape.vocab_size * widest))
        for group in range(0, len(layers), at_once):
            first_layer, last_layer = layers[group], layers[min(group + at_once, len(layers)) - 1]
            yield "collect", step, -1, first_layer, last_layer + 1, n, "waiting"


def _neuron_shards(neurons: dict[int, list[int]], size: int) -> Iterator[ShardRow]:
    """Yield shards of `size` neurons of one layer, the same ones for every stage."""
    for stage in NEURON_STAGES:
        for layer, found in neurons.items():
            for place in range(0, len(found), size):
                part = found[place : place + size]
                yield stage, "", layer, part[0], part[-1] + 1, len(part), "waiting"
