"""The data about all neurons of a run that a worker needs to read a text."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from db.runs import StoredRun
from db.tables.records import neuron_records_table
from db.tables.results import explanation_table


@dataclass(frozen=True, slots=True)
class TextNeurons:
    """Arrays (n_layers, neurons_per_layer).

    Attributes:
        explained: Whether a neuron has an explanation.
        means: Its mean activation on the corpus; NaN where none is stored.
    """

    explained: NDArray[np.bool_]
    means: NDArray[np.float64]


def load_text_neurons(connection: Connection, run: StoredRun) -> TextNeurons:
    """Return which neurons are explained, and their means."""
    shape = (run.n_layers, run.neurons_per_layer)
    explained, means = np.zeros(shape, np.bool_), np.full(shape, np.nan)
    written = explanation_table.c
    places = select(written.layer, written.neuron).where(written.run_id == run.id)
    for layer, neuron in connection.execute(places):
        explained[layer, neuron] = True
    rows = neuron_records_table.c
    query = select(rows.layer, rows.neuron, rows.mean).where(rows.run_id == run.id)
    for layer, neuron, mean in connection.execute(query):
        means[layer, neuron] = np.nan if mean is None else mean
    return TextNeurons(explained, means)
