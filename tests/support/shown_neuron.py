"""What the command `neuron` shows of a neuron in a database."""

from db import corpora, neuron_evaluations, runs
from db.neuron import load_neuron


def evaluations_of(connection, run_id, layer, neuron):
    """Return a neuron's evaluations and connections, as the command reads them."""
    corpus = corpora.get(connection, runs.get(connection, run_id).corpus_id)
    texts = corpora.token_texts(connection, corpus.vocabulary_id)
    return neuron_evaluations.evaluations_of(load_neuron(connection, run_id, layer, neuron), texts)
