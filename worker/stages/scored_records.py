"""The records of a neuron that are simulated and scored, with their tokens and true activations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from db import corpora
from db.records import neuron_records
from neurogloss.config.run import ScoringConfig
from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.neurons.splits import Split, random_slice, top_slice
from worker.shard import ClaimedShard


@dataclass(frozen=True, slots=True)
class ScoredRecords:
    """The valid split of one neuron, or another split, top records first.

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


@dataclass(frozen=True, slots=True)
class StackedRecords:
    """The scored records of several neurons, (n_neurons, n_records, n_tokens) each.

    `is_repeated`, bool (n_neurons, n_records), says which are on an excerpt that came before.
    """

    neurons: IntArray
    tokens: IntArray
    true: FloatArray
    is_repeated: NDArray[np.bool_]
    n_top: int
    undefined_reasons: list[str | None]


def stacked(records_: Sequence[ScoredRecords]) -> StackedRecords:
    """Return the records of neurons that have equally many."""
    excerpts = np.stack([scored.excerpts for scored in records_])
    same = excerpts[:, :, None] == excerpts[:, None, :]
    return StackedRecords(
        neurons=np.array([scored.neuron for scored in records_]),
        tokens=np.stack([scored.tokens for scored in records_]),
        true=np.stack([scored.true for scored in records_]),
        is_repeated=np.tril(same, -1).any(axis=2),
        n_top=records_[0].n_top,
        undefined_reasons=[scored.undefined_reason for scored in records_],
    )


def scored_records(
    connection: Connection,
    shard: ClaimedShard,
    layer: int,
    start: int = 0,
    stop: int = 2**31 - 1,
    split: Split = Split.VALID,
) -> Iterator[ScoredRecords]:
    """Yield the scored records of a range of neurons, in order, or as many of another split."""
    rows = neuron_records.load(connection, shard.claim.run_id, layer, start, stop)
    scoring = shard.config.scoring
    places = [scored_places(row.top_records, row.random_records, scoring, split) for row in rows]
    excerpts = [
        [row.excerpts[place] for place in of_split]
        for row, (of_split, _) in zip(rows, places, strict=True)
    ]
    tokens = tokens_of(connection, shard, excerpts)
    for row, (of_split, n_top), numbers, read in zip(rows, places, excerpts, tokens, strict=True):
        yield ScoredRecords(
            neuron=row.neuron,
            excerpts=np.array(numbers, dtype=np.int64),
            tokens=read,
            true=row.activations[of_split],
            n_top=n_top,
            undefined_reason=row.undefined_reason,
        )


def scored_places(
    top_records: Sequence[int],
    random_records: Sequence[int],
    scoring: ScoringConfig,
    split: Split = Split.VALID,
) -> tuple[list[int], int]:
    """Return where the records of a split stand among a neuron's, and how many are top records."""
    top = top_records[top_slice(split, scoring.top)]
    drawn = random_records[random_slice(split, scoring.random)]
    return [*top, *drawn], len(top)


def tokens_of(
    connection: Connection, shard: ClaimedShard, excerpts: Sequence[Sequence[int]]
) -> list[IntArray]:
    """Return the tokens, int32 (n, excerpt_tokens), of the excerpts of each neuron.

    All are read at once: a query for each neuron would cost more than asking about it.
    """
    numbers = sorted({number for named in excerpts for number in named})
    tokens = corpora.excerpts_named(connection, shard.run.corpus_id, numbers)
    return [np.stack([tokens[number] for number in named]) for named in excerpts]
