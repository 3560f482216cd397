"""The values of published neurons that neurons of our own runs do not have."""

from dataclasses import dataclass

import numpy as np

from db.codec import PackedArray
from db.rows import NeuronRows
from db.tables.origins import imported_neuron_table
from neurogloss.neurons.records import FloatArray


@dataclass(frozen=True, slots=True)
class ImportedNeuronRow:
    """The published score of a neuron, and the excerpts that it was scored on.

    `scored_excerpts` are in order, of which the first `n_top` are those of top records; None where
    they are the valid split. `published_scores` is float64 (n, 3): correlation, explained variance
    and explained deviation, first those of the explanation, then those of each simulation; NaN
    stands for null. It is None where an export computes the same ones.
    """

    run_id: int
    layer: int
    neuron: int
    published_score: float | None
    scored_excerpts: list[int] | None
    n_top: int | None
    published_scores: FloatArray | None = None


imported_neurons = NeuronRows(
    imported_neuron_table, ImportedNeuronRow, {"published_scores": PackedArray(np.float64, width=3)}
)
