"""The generator of the benchmarks makes what a run would have left: loaders and verify take it."""

import numpy as np
from sqlalchemy import text

from db import progress, runs
from db.neuron import load_neurons
from neurogloss.neurons.distributions import unpack_distributions
from neurogloss.neurons.records import MAX_NORMALIZED
from orchestrator.verify.verify import find_differences
from tests.support.filled import LAYERS, NEURONS


def test_verify_finds_no_difference(filled):
    assert list(find_differences(filled, 1, lambda *_: None)) == []


def test_every_neuron_is_loaded_with_all_that_it_should_have(filled):
    states = {}
    with filled.connect() as connection:
        for layer, neuron, state in connection.execute(
            text("SELECT layer, neuron, state FROM listed_neuron")
        ):
            states[layer, neuron] = state
        for layer in range(LAYERS):
            for stored in load_neurons(connection, 1, layer, range(NEURONS)):
                check(stored, states.pop((layer, stored.neuron)))
    assert states == {}


def check(stored, state):
    assert stored.records.activations.shape == (65, 64)
    assert set(stored.related_neurons) == {"upstream", "downstream"}
    assert set(stored.related_tokens) == {"input", "output"}
    assert len(stored.token_means.top_means()) == 50
    assert bool(stored.failures) == (state == "failed")
    assert (stored.score is not None) == (state in ("scored", "undefined"))
    if state == "scored":
        assert len(stored.simulations) == 10
        assert set(stored.baselines) == {"lookup", "token_list", "weights"}
        assert stored.explanation.text.startswith(" ")
        for simulation in stored.simulations.values():
            assert simulation.distribution.shape == (64, MAX_NORMALIZED + 1)


def test_the_run_is_half_finished_and_under_way(filled):
    with filled.connect() as connection:
        run = runs.find(connection, "filled")
        stages = {stage.stage: stage for stage in progress.stages(connection, "filled")}
        states = set(connection.scalars(text("SELECT DISTINCT state FROM listed_neuron")))
        kept = connection.scalar(
            text("SELECT distributions FROM call WHERE distributions IS NOT NULL LIMIT 1")
        )
    assert run.state == "running"
    assert stages["collect"].percent == 100
    assert 60 < stages["score"].percent < stages["explain"].percent < 100
    assert stages["score"].failed > 0 < stages["simulate"].in_flight
    assert states == {"collected", "explained", "scored", "failed", "undefined"}
    assert np.all(unpack_distributions(bytes(kept))["covered"] > 0.9)
