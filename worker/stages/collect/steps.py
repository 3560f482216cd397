"""Collect: from text to the activation records of every neuron.

Its steps follow each other. `reference` reads the excerpts on which the quantile boundaries are
measured, `boundaries` measures them, `read` reads all other excerpts, `select` chooses the records
of each layer, and `lookup` reads the corpus again for the token lookup tables and the baselines,
or `baselines` does, where nobody waits for the tables. `reference` and `read` are one forward pass
over the corpus together. `connections` reads the weights alone, at any time.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import Connection

from db import collection, corpora
from db.records import NeuronRecordsRow, joined_records, neuron_records
from db.session import transaction
from neurogloss.neurons.moments import Moments, moments_of
from neurogloss.neurons.selection import SelectedRecords, quantile_boundaries, select_records
from neurogloss.neurons.tiles import tiles_of
from neurogloss.subject.collection import collect as read_excerpts
from neurogloss.subject.device import find_device
from neurogloss.subject.host_memory import give_memory_back
from neurogloss.subject.layer_collector import LayerPlan
from worker.shard import ClaimedShard
from worker.stages.collect import layer_parts
from worker.stages.collect.connections import connect
from worker.stages.collect.layer_parts import Layer, Part
from worker.stages.collect.token_tables import look_up
from worker.stages.forward_pass import excerpts, interruption_check, n_batches, subject_of


def collect(shard: ClaimedShard) -> None:
    """Do a shard of any of the steps."""
    try:
        _STEPS[shard.claim.step](shard)
    finally:
        if shard.claim.step in _PASSES:
            give_memory_back()


def side_steps() -> list[str]:
    """Return the steps that this process may do beside a pass over the corpus."""
    # Connections compute on the device, whose memory passes fill where it is a GPU.
    return ["boundaries", "select", *(["connections"] if find_device().type == "cpu" else [])]


def read(shard: ClaimedShard) -> None:
    """Run a range of excerpts through the subject model; store what the records may need."""
    claim = shard.claim
    model = subject_of(shard)
    with transaction(shard.engine) as connection:
        wanted = layer_parts.wanted_by(connection, shard)
        plans = _plans(connection, shard)
        first, last = tiles_of(claim.start, claim.stop, wanted.n_excerpts)
        tokens, lengths = excerpts(connection, shard, first, last)
    within = range(claim.start, claim.stop)
    # Outside of any transaction: a forward pass may take minutes, and an open transaction would
    # keep Postgres from removing dead rows.
    parts = read_excerpts(
        model,
        tokens,
        first,
        within,
        plans,
        wanted,
        lengths=lengths,
        on_layer=interruption_check(shard, n_batches(model, *tokens.shape) * len(plans)),
    )
    with shard.committing() as connection:
        for layer, part in parts:
            stored = Part(part.kept, part.blocks, part.nonfinite)
            layer_parts.save_part(connection, claim.run_id, layer, claim.start, stored)
            if part.maxima is not None:
                collection.save_maxima(connection, claim.run_id, layer, claim.start, part.maxima)
    layer_parts.merge_large_layers(shard)


def _plans(connection: Connection, shard: ClaimedShard) -> dict[int, LayerPlan]:
    plans = {}
    for layer in layer_parts.layers_of(connection, shard):
        bounds = layer_parts.bounds_of(connection, shard.claim.run_id, layer)
        known = (None, None) if bounds is None else (bounds.boundaries, bounds.bars)
        plans[layer.number] = LayerPlan(layer.neurons, layer.keys, *known)
    return plans


def measure_boundaries(shard: ClaimedShard) -> None:
    """Measure a layer's quantile boundaries on the reference excerpts, and merge its parts."""
    run_id, number = shard.claim.run_id, shard.claim.layer
    with transaction(shard.engine) as connection:
        layer = layer_parts.layer_of(connection, shard, number)
        maxima = collection.maxima(connection, run_id, number, len(layer.neurons))
    boundaries = quantile_boundaries(maxima)
    with shard.committing() as connection:
        # Another worker may be merging this layer, and both would replace the same parts.
        collection.lock_layer(connection, run_id, number, wait=True)
        # Merged here because bars are known from now on, and later shards keep less by them.
        layer_parts.merge_parts(connection, shard, layer, boundaries)
        collection.drop_maxima(connection, run_id, number)


def select(shard: ClaimedShard) -> None:
    """Select the records of a layer's neurons and delete the parts they were selected from."""
    run_id, number = shard.claim.run_id, shard.claim.layer
    with transaction(shard.engine) as connection:
        layer = layer_parts.layer_of(connection, shard, number)
        rows = _selected(connection, shard, layer)
    with shard.committing() as connection:
        neuron_records.save(connection, rows)
        # The worker of the last shard may still be merging, which changes no record.
        collection.lock_layer(connection, run_id, number, wait=True)
        collection.drop_layer(connection, run_id, number)


_PASSES = ("reference", "read", "lookup", "baselines")  # over the corpus, which hold most memory
_STEPS = {
    "reference": read,
    "boundaries": measure_boundaries,
    "read": read,
    "select": select,
    "lookup": look_up,
    "baselines": look_up,
    "connections": connect,
}


def _selected(
    connection: Connection, shard: ClaimedShard, layer: Layer
) -> Iterator[NeuronRecordsRow]:
    """Return the records of a layer's neurons.

    Raises:
        ValueError: A part of the corpus was not read.
    """
    run_id = shard.claim.run_id
    _, part = layer_parts.load_parts(connection, shard, layer)
    bounds = layer_parts.bounds_of(connection, run_id, layer)
    if part is None or bounds is None:
        raise ValueError(f"nothing was read of layer {layer.number}")
    of_layer, n_tokens = moments_of(part.blocks)
    # A defect in the order of shards would show here, before records of a part of the corpus are
    # stored as those of all.
    if n_tokens != corpora.n_tokens(connection, shard.run.corpus_id):
        raise ValueError(f"{n_tokens} tokens were read, which is not the whole corpus")
    ranking = layer_parts.ranked(connection, shard, layer, part, bounds.boundaries)
    chosen = select_records(part.kept, ranking, len(layer.neurons))
    highest = ranking.highest(part.kept, len(layer.neurons)).tolist()
    return (
        NeuronRecordsRow(
            run_id=run_id,
            layer=layer.number,
            neuron=int(layer.neurons[column]),
            excerpts=records.excerpts,
            **_activations_of(records, shard),
            top_records=records.top,
            random_records=records.random,
            bucket_records=records.bucket_records,
            buckets=records.buckets,
            quantile_boundaries=bounds.boundaries[column].tolist(),
            max_activation=highest[column],
            **_moments_of(of_layer, column),
            n_tokens=n_tokens,
            undefined_reason=_undefined_reason(highest[column], bool(part.nonfinite[column])),
        )
        for column, records in enumerate(chosen)
    )


def _activations_of(records: SelectedRecords, shard: ClaimedShard) -> dict[str, Any]:
    """Return the activations on a neuron's records, and their lengths where these differ."""
    if shard.config.corpus.short == "keep":
        return joined_records(records.on_each())
    return {"activations": records.activations}


def _moments_of(of_layer: Moments, column: int) -> dict[str, Any]:
    """Return the moments of one neuron by name; None where one is not finite."""
    values = {name: float(moment[column]) for name, moment in of_layer._asdict().items()}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def _undefined_reason(highest: float, nonfinite: bool) -> str | None:
    if nonfinite:
        return "nonfinite_activations"
    return "dead" if highest <= 0 else None
