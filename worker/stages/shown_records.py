"""Activation records as prompts show them: the text of each token with its activation."""

from collections.abc import Sequence

from sqlalchemy import Connection

from db.records import NeuronRecordsRow
from neurogloss.neurons.records import ActivationRecord
from worker.shard import ClaimedShard
from worker.stages.scored_records import tokens_of
from worker.stages.vocabulary import texts_of


def shown_records(
    connection: Connection,
    shard: ClaimedShard,
    rows: Sequence[NeuronRecordsRow],
    places: Sequence[Sequence[int]],
) -> list[list[ActivationRecord]]:
    """Return some records of each neuron.

    Args:
        connection: To the database.
        shard: The shard.
        rows: The records of the neurons.
        places: Where the records to show stand among those of each neuron.
    """
    texts = texts_of(connection, shard)
    excerpts = [[row.excerpts[p] for p in shown] for row, shown in zip(rows, places, strict=True)]
    tokens = tokens_of(connection, shard, excerpts)
    return [
        [
            ActivationRecord(tuple(texts[t] for t in ids.tolist()), tuple(values.tolist()))
            for ids, values in zip(read, row.on(shown), strict=True)
        ]
        for row, shown, read in zip(rows, places, tokens, strict=True)
    ]
