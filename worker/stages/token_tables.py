"""The step `lookup` of collect: token lookup tables, from a second pass over the corpus.

A table holds the tokens on which a neuron is scored and those of its highest means, and these are
known only when the records are chosen. In one pass the sums of every token and neuron would have to
be kept and merged: 62 GB for GPT-2 XL. So the corpus is read again, as far as the layers of the
shard, and only in runs that use the tables.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import Connection

from db import records, runs
from db.session import transaction
from worker.gpu.token_sums import TokenSums
from worker.neurons.lookup import top_tokens
from worker.neurons.tiles import TILE
from worker.shard_work import ShardWork
from worker.stages.scored_records import scored_records
from worker.stages.subject_reading import excerpts, go_on, subject_of

TOP_TOKENS = 50
_AT_ONCE = 32 * TILE  # excerpts fetched together


def look_up(work: ShardWork) -> None:
    """Make the token lookup tables of some layers."""
    with transaction(work.engine) as connection:
        layers = [
            layer
            for layer in runs.layers_of(connection, work.claim.run_id)
            if work.claim.start <= layer < work.claim.stop
        ]
        n_excerpts = runs.corpus(connection, work.run["corpus_id"])["n_excerpts"]
    sums = TokenSums(subject_of(work), layers)
    check = go_on(work)
    for start in range(0, n_excerpts, _AT_ONCE):
        with transaction(work.engine) as connection:
            tokens = excerpts(connection, work, start, start + _AT_ONCE)
        for first in range(0, len(tokens), TILE):
            check()
            sums.add(tokens[first : first + TILE])
    with transaction(work.engine) as connection:
        rows = [row for layer in layers for row in _tables(connection, work, layer, sums)]
    with work.handing_in() as connection:
        records.save_token_means(connection, rows)


def _tables(
    connection: Connection, work: ShardWork, layer: int, sums: TokenSums
) -> Iterator[tuple[Any, ...]]:
    """Yield the lookup table of each neuron of a layer, less the excerpts it is scored on."""
    layer_sums, layer_counts = sums.of_layer(layer)
    per_neuron = np.ascontiguousarray(layer_sums.T)
    for scored in scored_records(connection, work, layer):
        table, counts = per_neuron[scored.neuron].copy(), layer_counts.copy()
        rows = np.unique(scored.excerpts, return_index=True)[1]
        tokens = scored.tokens[rows].ravel()
        np.subtract.at(table, tokens, scored.true[rows].astype(np.float64).ravel())
        np.subtract.at(counts, tokens, 1)
        means = np.divide(table, counts, out=np.zeros_like(table), where=counts > 0)
        best = top_tokens(means, counts, TOP_TOKENS)
        kept = np.union1d(tokens, best)
        kept = kept[counts[kept] > 0]
        yield (
            work.claim.run_id,
            layer,
            scored.neuron,
            kept.astype(np.int32).tobytes(),
            means[kept].astype(np.float32).tobytes(),
            counts[kept].astype(np.int32).tobytes(),
            best.tolist(),
            float(table.sum() / max(1, counts.sum())),
        )
