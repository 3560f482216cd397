"""Parts of a layer: what shards leave for each other until its records are selected.

A part is stored with the shard that read it. Once the parts of a layer keep `MERGE_AT` times what
its records can hold, the worker that has just finished a shard merges them in one transaction, so
that a worker that dies leaves the parts unchanged. Merging yields bars, with which later shards
keep less: merges become rarer as the corpus is read, and the parts of a layer stay small.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from db import collection, corpora, runs
from db.session import transaction
from neurogloss.neurons.moments import TileSums, merge_halves
from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.neurons.sampling import neuron_keys
from neurogloss.neurons.selection import ExcerptRanking, KeptExcerpts, RecordCounts, rank_excerpts
from worker.shard import ClaimedShard

# 3: a merge reads and writes all parts of a layer, so rarer merges cost less time and more disk.
MERGE_AT = 3


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a run: its neurons and their keys, int64 (n_neurons,)."""

    number: int
    neurons: IntArray
    keys: IntArray


@dataclass(frozen=True, slots=True)
class Part:
    """The interim results of some excerpts for a layer; `nonfinite` is bool (n_neurons,)."""

    kept: KeptExcerpts
    blocks: list[TileSums]
    nonfinite: NDArray[np.bool_]


def layer_of(connection: Connection, shard: ClaimedShard, number: int) -> Layer:
    """Return a layer of the shard's run."""
    numbers = runs.neurons_in(connection, shard.claim.run_id, number)
    neurons = np.array(numbers, dtype=np.int64)
    return Layer(number, neurons, neuron_keys(shard.config.corpus.seed, number, neurons))


def layers_of(connection: Connection, shard: ClaimedShard) -> list[Layer]:
    """Return the layers of the shard's run, in order."""
    numbers = runs.layers_of(connection, shard.claim.run_id)
    return [layer_of(connection, shard, number) for number in numbers]


def wanted_by(connection: Connection, shard: ClaimedShard) -> RecordCounts:
    """Return how many records of each kind the shard's run keeps."""
    records = shard.config.records
    n_excerpts = corpora.get(connection, shard.run.corpus_id).n_excerpts
    return RecordCounts(n_excerpts, records.top, records.random, records.per_quantile)


def save_part(connection: Connection, run_id: int, layer: int, start: int, part: Part) -> None:
    """Store a part under its first excerpt."""
    blocks = [(block.first, block.n_tiles, block.n_tokens) for block in part.blocks]
    stored = collection.StoredPart(
        kept_columns=part.kept.columns,
        kept_excerpts=part.kept.excerpts,
        kept_activations=part.kept.activations,
        blocks=np.array(blocks, dtype=np.int32),
        moments=np.array([block.sums for block in part.blocks], dtype=np.float64),
        nonfinite=part.nonfinite,
    )
    collection.save_part(connection, run_id, layer, start, stored)


def load_parts(
    connection: Connection, shard: ClaimedShard, layer: Layer
) -> tuple[list[int], Part | None]:
    """Return the first excerpts of a layer's parts, and all of them as one; None without any."""
    run_id = shard.claim.run_id
    sizes = collection.part_sizes(connection, run_id, layer.number)
    if not sizes:
        return [], None
    kept = _room_for(sum(size for _, size in sizes), shard.config.corpus.excerpt_tokens)
    nonfinite = np.zeros(len(layer.neurons), dtype=np.bool_)
    blocks: list[TileSums] = []
    at = 0
    for start, size in sizes:  # one at a time: two of them would not fit into memory
        part = collection.part(connection, run_id, layer.number, start)
        rows = slice(at, at := at + size)
        kept.columns[rows] = part.kept_columns
        kept.excerpts[rows] = part.kept_excerpts
        kept.activations[rows].reshape(-1)[:] = part.kept_activations
        nonfinite |= part.nonfinite
        blocks += _blocks(part, len(layer.neurons))
    return [start for start, _ in sizes], Part(kept, merge_halves(blocks), nonfinite)


def _room_for(n_kept: int, n_tokens: int) -> KeptExcerpts:
    columns, excerpts = (np.empty(n_kept, dtype=np.int32) for _ in range(2))
    return KeptExcerpts(columns, excerpts, np.empty((n_kept, n_tokens), dtype=np.float16))


def _blocks(part: collection.StoredPart, n_neurons: int) -> list[TileSums]:
    numbers = part.blocks.tolist()
    sums = part.moments.reshape(-1, 4, n_neurons)
    return [
        TileSums(first, n_tiles, n_tokens, block)
        for (first, n_tiles, n_tokens), block in zip(numbers, sums, strict=True)
    ]


def bounds_of(connection: Connection, run_id: int, layer: Layer) -> collection.Bounds | None:
    """Return the boundaries (n_neurons, 4) and bars (7, n_neurons) of a layer, if known."""
    return collection.bounds(connection, run_id, layer.number, len(layer.neurons))


def merge_parts(
    connection: Connection, shard: ClaimedShard, layer: Layer, boundaries: FloatArray
) -> None:
    """Replace a layer's parts by one, and set its bars. The caller holds the layer's lock."""
    run_id = shard.claim.run_id
    starts, part = load_parts(connection, shard, layer)
    if part is None:
        return
    ranking = ranked(connection, shard, layer, part, boundaries)
    bars = ranking.bars(part.kept.columns, len(layer.neurons))
    kept = part.kept.rows(ranking.needed)
    collection.drop_parts(connection, run_id, layer.number, starts)
    save_part(connection, run_id, layer.number, starts[0], Part(kept, part.blocks, part.nonfinite))
    collection.save_bounds(connection, run_id, layer.number, collection.Bounds(boundaries, bars))


def ranked(
    connection: Connection, shard: ClaimedShard, layer: Layer, part: Part, boundaries: FloatArray
) -> ExcerptRanking:
    """Rank what a part keeps."""
    return rank_excerpts(part.kept, wanted_by(connection, shard), layer.keys, boundaries)


def merge_large_layers(shard: ClaimedShard) -> None:
    """Merge the layers whose parts have grown, except those that another worker is merging."""
    run_id = shard.claim.run_id
    with transaction(shard.engine) as connection:
        per_neuron = sum(wanted_by(connection, shard).per_kind)
        sizes = collection.n_kept(connection, run_id)
    # Workers that come at the same time begin with different layers.
    turn = shard.claim.shard_id % max(1, len(sizes))
    for number, n_kept in [*sizes[turn:], *sizes[:turn]]:
        with transaction(shard.engine) as connection:
            layer = layer_of(connection, shard, number)
            # `n_kept` may be old by now. A merge too many is harmless, and one too few is made up
            # for by the next shard.
            if n_kept <= MERGE_AT * per_neuron * len(layer.neurons):
                continue
            bounds = bounds_of(connection, run_id, layer)
            if bounds and collection.lock_layer(connection, run_id, number, wait=False):
                merge_parts(connection, shard, layer, bounds.boundaries)
