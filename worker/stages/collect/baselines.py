"""Predictions without an explanation, scored on the same records as explanations."""

from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from db.evaluations import BaselineScoreRow
from neurogloss.neurons.codec import padded
from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.neurons.scoring import NeuronScore, score_pooled, unscored
from neurogloss.subject.lookup_tables import LookupTables, predictions
from neurogloss.subject.weights import ResidualWeights
from worker.shard import ClaimedShard
from worker.stages.scored_records import StackedRecords

_values = attrgetter(*(field.name for field in fields(NeuronScore)))


def baseline_rows(
    shard: ClaimedShard,
    layer: int,
    group: StackedRecords,
    tables: LookupTables,
    best: list[IntArray],
    weights: ResidualWeights,
) -> Iterator[BaselineScoreRow]:
    """Yield the scores of each baseline for some neurons of a layer.

    Args:
        shard: The shard.
        layer: Of the neurons.
        group: Their scored records.
        tables: Their lookup tables, made without these records.
        best: The tokens that the list of each neuron names.
        weights: Of the subject.
    """
    flat = padded(list(map(np.concatenate, group.tokens)), 0)  # (n_neurons, n)
    tokens = torch.from_numpy(flat.astype(np.int64)).to(tables.means.device)
    listed = pad_sequence([torch.from_numpy(b) for b in best], batch_first=True, padding_value=-1)
    expected = {
        "lookup": _rounded(predictions(tables, tokens)),
        "token_list": _rounded(predictions(tables, tokens, listed.to(tokens.device))),
        "weights": weights.token_input_weights(layer, group.neurons, flat),
    }
    true = list(map(np.concatenate, group.true))
    n_first = [sum(map(len, records[: group.n_top])) for records in group.true]
    for baseline, simulated in expected.items():
        # What follows the tokens of a neuron is padding.
        of_each = [row[: len(own)] for row, own in zip(simulated, true, strict=True)]
        scores = score_pooled(true, of_each, n_first)
        for neuron, reason, defined in zip(
            group.neurons.tolist(), group.undefined_reasons, scores, strict=True
        ):
            score = defined if reason is None else unscored(reason)
            yield BaselineScoreRow(shard.claim.run_id, layer, neuron, baseline, *_values(score))


def _rounded(expected: torch.Tensor) -> FloatArray:
    """Return predictions, (n_neurons, n), as `lookup` stores them."""
    rounded: FloatArray = expected.to(torch.float32).to(torch.float16).cpu().numpy()
    return rounded
