"""What published neurons had that those of a run of ours would not have."""

from dataclasses import dataclass

from db.rows import NeuronRows
from db.tables import ImportedNeuronTable


@dataclass(frozen=True, slots=True)
class ImportedNeuronRow:
    """The published score of a neuron, and the excerpts that it was scored on.

    `scored_excerpts` are in order, of which the first `n_top` are those of top records; None where
    they are the valid split.
    """

    run_id: int
    layer: int
    neuron: int
    published_score: float | None
    scored_excerpts: list[int] | None
    n_top: int | None


imported_neurons = NeuronRows(ImportedNeuronTable, ImportedNeuronRow)
