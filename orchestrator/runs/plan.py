"""The plan of a run: its neurons, shards and totals. Pure functions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from db.runs import PlannedNeuron, PlannedShard
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.neurons.control import draw_controlled
from neurogloss.neurons.selection import n_reference
from neurogloss.neurons.tiles import whole_tiles
from neurogloss.stages import COLLECT, MARKS
from neurogloss.subject.shape import Shape
from orchestrator.runs.expected import ExpectedSeconds

ByLayer = Mapping[int, Collection[int]]
"""Some neurons of each layer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The neurons of a run by layer, its shards, and the neurons to ablate and to control."""

    neurons: dict[int, list[int]]
    shards: list[PlannedShard]
    ablated: ByLayer = field(default_factory=dict)
    controlled: ByLayer = field(default_factory=dict)

    @property
    def n_neurons(self) -> int:
        return sum(map(len, self.neurons.values()))

    def neuron_rows(self) -> Iterator[PlannedNeuron]:
        """Yield every neuron."""
        for layer, neurons in self.neurons.items():
            ablated, controlled = self.ablated.get(layer, ()), self.controlled.get(layer, ())
            for neuron in neurons:
                yield PlannedNeuron(layer, neuron, neuron in ablated, neuron in controlled)

    def totals(self) -> list[tuple[str, int, int]]:
        """Return (stage, layer, total): the final value of each progress counter; layer -1: all."""
        # Also where nothing is collected, as in a run on the records of another: each run has this
        # row.
        sums: dict[tuple[str, int], int] = {(COLLECT, -1): 0}
        for shard in self.shards:
            place = (shard.stage, -1 if shard.stage == COLLECT else shard.layer)
            sums[place] = sums.get(place, 0) + shard.weight
        return [(*place, total) for place, total in sums.items()]


def make_plan(config: RunConfig, shape: Shape) -> Plan:
    """Return the plan of a run that collects its own records.

    Raises:
        InputError: A neuron of `ablation.neurons` is not a neuron of the run.
    """
    neurons = chosen_neurons(config, shape)
    ablated, controlled = ablated_neurons(config, neurons), controlled_neurons(config, neurons)
    marked = {"ablate": ablated, "control": controlled}
    seconds = ExpectedSeconds(config, shape, neurons)
    shards = [
        *(
            shard._replace(expected_s=seconds.of(shard))
            for shard in _collect_shards(config, shape, neurons)
        ),
        *_neuron_shards(config, neurons, marked),
    ]
    return Plan(neurons, shards, ablated, controlled)


def make_neuron_plan(config: RunConfig, neurons: dict[int, list[int]]) -> Plan:
    """Return the plan of a run over neurons that have records already."""
    controlled = controlled_neurons(config, neurons)
    shards = list(_neuron_shards(config, neurons, {"control": controlled}))
    return Plan(neurons, shards, controlled=controlled)


def chosen_neurons(config: RunConfig, shape: Shape) -> dict[int, list[int]]:
    """Return the configured neurons, by layer."""
    layers = range(shape.n_layers) if config.neurons.layers == "all" else config.neurons.layers
    everyone = list(range(shape.neurons_per_layer))
    if config.neurons.per_layer == "all":
        return {layer: everyone for layer in sorted(set(layers))}
    # Seeded by layer, so that a layer's sample is the same in runs over other layers.
    count = min(config.neurons.per_layer, shape.neurons_per_layer)
    return {
        layer: sorted(_sample(config.corpus.seed, layer, shape.neurons_per_layer, count))
        for layer in sorted(set(layers))
    }


def ablated_neurons(config: RunConfig, neurons: Mapping[int, Sequence[int]]) -> dict[int, set[int]]:
    """Return the neurons to ablate, by layer.

    Raises:
        InputError: A neuron of `ablation.neurons` is not a neuron of the run.
    """
    chosen = {
        layer: {of_layer[place] for place in _places(config, layer, len(of_layer))}
        for layer, of_layer in neurons.items()
    }
    for layer, neuron in config.ablation.neurons:
        if neuron not in neurons.get(layer, ()):
            raise InputError(
                f"ablation.neurons has [{layer}, {neuron}], which is not a neuron of the run"
            )
        chosen[layer].add(neuron)
    return chosen


def controlled_neurons(
    config: RunConfig, neurons: Mapping[int, Sequence[int]]
) -> dict[int, set[int]]:
    """Return the neurons whose scores are controlled, by layer."""
    controlled: dict[int, set[int]] = {}
    if config.scoring.control:
        everyone = [(layer, neuron) for layer in sorted(neurons) for neuron in neurons[layer]]
        share = config.scoring.control
        for place in draw_controlled(config.corpus.seed, len(everyone), share):
            layer, neuron = everyone[place]
            controlled.setdefault(layer, set()).add(neuron)
    return controlled


def _places(config: RunConfig, layer: int, n: int) -> list[int]:
    return _sample(config.corpus.seed, layer, n, min(n, config.ablation.per_layer))


def _sample(seed: int, layer: int, n: int, count: int) -> list[int]:
    drawn: list[int] = np.random.default_rng([seed, layer]).choice(n, count, replace=False).tolist()
    return drawn


def _collect_shards(
    config: RunConfig, shape: Shape, neurons: dict[int, list[int]]
) -> Iterator[PlannedShard]:
    layers, per_layer = list(neurons), shape.neurons_per_layer
    n, size = config.corpus.excerpts, whole_tiles(config.shards.excerpts)
    reference = n_reference(n)
    for step, first, last in (("reference", 0, reference), ("read", reference, n)):
        state = "ready" if step == "reference" else "waiting"
        # Cut at multiples of a tile: a tile shared by two shards would be computed twice.
        edges = [first, *range((first // size + 1) * size, last, size), last]
        for start, stop in pairwise(edges):
            yield PlannedShard("collect", step, -1, start, stop, stop - start, state)
    for step in ("boundaries", "select"):
        for layer in layers:
            yield PlannedShard("collect", step, layer, 0, per_layer, 0, "waiting")
    if config.connections.neurons or config.connections.tokens:
        for layer in layers:
            yield PlannedShard("collect", "connections", layer, 0, per_layer, 0, "waiting")
    if config.needs_lookup or config.scoring.baselines:
        yield from _lookup_shards(config, shape, neurons)


def _lookup_shards(
    config: RunConfig, shape: Shape, neurons: dict[int, list[int]]
) -> Iterator[PlannedShard]:
    """Yield shards of as many layers as may be in memory; together they weigh a reading."""
    # Later stages wait for the step `lookup`; none waits for `baselines`.
    step = "lookup" if config.needs_lookup else "baselines"
    layers, widest = list(neurons), max(map(len, neurons.values()))
    # 8 bytes: a float64 sum for each neuron and token, which is exact for float16 values.
    at_once = max(1, (config.shards.lookup_mib << 20) // (8 * shape.vocab_size * widest))
    n = config.corpus.excerpts
    for first in range(0, len(layers), at_once):
        last = min(first + at_once, len(layers))
        weight = n * last // len(layers) - n * first // len(layers)
        start, stop = layers[first], layers[last - 1] + 1
        yield PlannedShard("collect", step, -1, start, stop, weight, "waiting")


def _neuron_shards(
    config: RunConfig, neurons: dict[int, list[int]], marked: Mapping[str, ByLayer]
) -> Iterator[PlannedShard]:
    """Yield shards of `shards.neurons` neurons of one layer, cut alike for every stage.

    `marked` has the neurons of those stages that are not about all of them.
    """
    size = config.shards.neurons
    for stage in config.neuron_stages:
        for layer, of_layer in neurons.items():
            for place in range(0, len(of_layer), size):
                part = of_layer[place : place + size]
                weight = len(part)
                if stage in MARKS:
                    weight = len(set(marked[stage].get(layer, ())).intersection(part))
                # A stage that concerns none of these neurons has no shard of them.
                if weight:
                    ends = (part[0], part[-1] + 1)
                    yield PlannedShard(stage, "", layer, *ends, weight, "waiting")
