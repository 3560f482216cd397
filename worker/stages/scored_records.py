"""The records of a neuron that are simulated and scored, with their tokens and true activations."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, RowMapping

from db import records, runs
from worker.neurons.records import FloatArray, IntArray
from worker.neurons.splits import Split, random_slice, top_slice
from worker.shard_work import ShardWork


@dataclass(frozen=True, slots=True)
class ScoredRecords:
    """The valid split of one neuron, top records first.

    `excerpts` is int64 (n_records,), `tokens` int32 and `true` float16 (n_records, n_tokens). A top
    record may be a random record too, and then stands twice. `undefined_reason` says why the neuron
    cannot be explained, if it cannot.
    """

    neuron: int
    excerpts: IntArray
    tokens: IntArray
    true: FloatArray
    n_top: int
    undefined_reason: str | None


def scored_records(
    connection: Connection, work: ShardWork, layer: int, start: int = 0, stop: int = 2**31 - 1
) -> Iterator[ScoredRecords]:
    """Yield the scored records of a range of neurons, in order."""
    for row in records.load(connection, work.claim.run_id, layer, start, stop):
        top = row["top_records"][top_slice(Split.VALID, work.config.scoring.top)]
        drawn = row["random_records"][random_slice(Split.VALID, work.config.scoring.random)]
        places = [*top, *drawn]
        excerpts = [row["excerpts"][place] for place in places]
        yield ScoredRecords(
            neuron=row["neuron"],
            excerpts=np.array(excerpts, dtype=np.int64),
            tokens=tokens_of(connection, work, excerpts),
            true=activations_of(row)[places],
            n_top=len(top),
            undefined_reason=row["undefined_reason"],
        )


def activations_of(row: RowMapping) -> FloatArray:
    """Return a neuron's stored activations, float16 (n_records, excerpt_tokens)."""
    stored: FloatArray = np.frombuffer(row["activations"], np.float16)
    return stored.reshape(len(row["excerpts"]), -1)


def tokens_of(connection: Connection, work: ShardWork, excerpts: list[int]) -> IntArray:
    """Return the tokens of excerpts, int32 (n, excerpt_tokens)."""
    found = runs.excerpts_named(connection, work.run["corpus_id"], excerpts)
    return np.stack([np.frombuffer(found[number], np.int32) for number in excerpts])
