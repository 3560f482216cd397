"""Records of neurons as a prompt shows them: tokens as text, with their activations."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping

from neurogloss.neurons.records import ActivationRecord
from worker.shard import ClaimedShard
from worker.stages.scored_records import activations_of, tokens_of
from worker.stages.vocabulary import texts_of


def shown_records(
    connection: Connection,
    shard: ClaimedShard,
    rows: Sequence[RowMapping],
    places: Sequence[Sequence[int]],
) -> list[list[ActivationRecord]]:
    """Return some records of each neuron.

    Args:
        connection: To the database.
        shard: The shard.
        rows: Of `neuron_records`.
        places: Where the wanted records stand among those of each neuron.
    """
    texts = texts_of(connection, shard)
    named = [[row["excerpts"][p] for p in found] for row, found in zip(rows, places, strict=True)]
    tokens = tokens_of(connection, shard, named)
    return [
        [
            ActivationRecord(tuple(texts[t] for t in ids), tuple(values))
            for ids, values in zip(
                read.tolist(), activations_of(row)[list(found)].tolist(), strict=True
            )
        ]
        for row, found, read in zip(rows, places, tokens, strict=True)
    ]
