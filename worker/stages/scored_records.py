"""The records of neurons that are simulated and scored, with their tokens and activations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from db import corpora
from db.records import NeuronRecordsRow, RecordPlacesRow, neuron_records, record_places
from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.neurons.splits import Split, split_places
from worker.shard import ClaimedShard


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredExcerpts:
    """What one split of a neuron's records is on, top records first.

    A top record that is also a random record is listed twice.

    Attributes:
        excerpts: int64 (n_records,).
        tokens: Of each record, int32 (n_tokens,).
        n_top: How many of the records are top records.
        undefined_reason: Why the neuron cannot be explained; None if it can.
    """

    neuron: int
    excerpts: IntArray
    tokens: list[IntArray]
    n_top: int
    undefined_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRecords(ScoredExcerpts):
    """One split of a neuron's records.

    Attributes:
        true: The activations on each record, float16 (n_tokens,).
    """

    true: list[FloatArray]


@dataclass(frozen=True, slots=True)
class StackedRecords:
    """The scored records of several neurons.

    Attributes:
        neurons: (n_neurons,).
        tokens: Of each neuron, as in `ScoredRecords`.
        true: Of each neuron, as in `ScoredRecords`.
        is_repeated: bool (n_neurons, n_records): an earlier record is on the same excerpt.
    """

    neurons: IntArray
    tokens: list[list[IntArray]]
    true: list[list[FloatArray]]
    is_repeated: NDArray[np.bool_]
    n_top: int
    undefined_reasons: list[str | None]


def stacked(neurons: Sequence[ScoredRecords]) -> StackedRecords:
    """Stack the records of neurons that have the same number of them."""
    excerpts = np.stack([scored.excerpts for scored in neurons])
    same = excerpts[:, :, None] == excerpts[:, None, :]
    return StackedRecords(
        neurons=np.array([scored.neuron for scored in neurons]),
        tokens=[scored.tokens for scored in neurons],
        true=[scored.true for scored in neurons],
        # Below the diagonal: only earlier records count.
        is_repeated=np.tril(same, -1).any(axis=2),
        n_top=neurons[0].n_top,
        undefined_reasons=[scored.undefined_reason for scored in neurons],
    )


def scored_records(
    connection: Connection,
    shard: ClaimedShard,
    layer: int,
    start: int = 0,
    stop: int = 2**31 - 1,
    split: Split = Split.VALID,
) -> Iterator[ScoredRecords]:
    """Yield the records of a split for the neurons `start` to `stop` of a layer, in order."""
    rows = neuron_records.load(connection, shard.claim.run_id, layer, start, stop)
    for row, (places, fields) in zip(rows, _of_split(connection, shard, rows, split), strict=True):
        yield ScoredRecords(**fields, true=row.on(places))


def scored_excerpts(
    connection: Connection, shard: ClaimedShard, split: Split
) -> Iterator[ScoredExcerpts]:
    """Yield what the records of a split are on for the neurons of a shard, in order."""
    rows = record_places.load(connection, *shard.neuron_range)
    for _, fields in _of_split(connection, shard, rows, split):
        yield ScoredExcerpts(**fields)


def _of_split(
    connection: Connection,
    shard: ClaimedShard,
    rows: Sequence[NeuronRecordsRow | RecordPlacesRow],
    split: Split,
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Yield the places of a split's records, and the fields of `ScoredExcerpts`, of each neuron."""
    scoring = shard.config.scoring
    chosen = [
        split_places(row.top_records, row.random_records, split, scoring.top, scoring.random)
        for row in rows
    ]
    excerpts = [
        [row.excerpts[place] for place in places]
        for row, (places, _) in zip(rows, chosen, strict=True)
    ]
    tokens = tokens_of(connection, shard, excerpts)
    for row, (places, n_top), numbers, read in zip(rows, chosen, excerpts, tokens, strict=True):
        yield (
            places,
            {
                "neuron": row.neuron,
                "excerpts": np.array(numbers, dtype=np.int64),
                "tokens": read,
                "n_top": n_top,
                "undefined_reason": row.undefined_reason,
            },
        )


def tokens_of(
    connection: Connection, shard: ClaimedShard, excerpts: Sequence[Sequence[int]]
) -> list[list[IntArray]]:
    """Return the tokens, int32 (n_tokens,), of each of the excerpts of each neuron."""
    # One query for all neurons: one for each would cost more than the call about it.
    numbers = sorted({number for named in excerpts for number in named})
    tokens = corpora.excerpts_named(connection, shard.run.corpus_id, numbers)
    return [[tokens[number] for number in named] for named in excerpts]
