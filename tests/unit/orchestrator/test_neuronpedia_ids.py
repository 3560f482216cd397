"""Ids of Neuronpedia's files: with others, a run that is loaded again would be there twice."""

from types import SimpleNamespace

from orchestrator.datasets.neuronpedia.lines import Ids


def test_ids_are_those_of_every_earlier_export():
    run = SimpleNamespace(row=SimpleNamespace(name='a "b" é', config_hash="ab12"))
    ids = Ids(SimpleNamespace(run=run, layer=3, neuron=5071))
    assert ids.of("record", 64) == "c78de3ce9d5bd66ab9e2958aa"
    assert ids.of("explanation") == "ca4f2f40bc3c773e70a7dc259"
