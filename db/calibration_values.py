"""True activations by simulated ones, on a sample of a run's neurons."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, text

from db.neuron import NeuronPart, StoredNeuron, load_neurons
from db.runs import StoredRun, layers_of
from db.shown_records import scored_places, simulated_levels, to_levels
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray

NEURONS = 240
"""As many neurons are looked at, spread evenly over the layers."""

_FIRST = text("""
    SELECT neuron FROM score WHERE run_id = :run AND layer = :layer AND score IS NOT NULL
    ORDER BY neuron LIMIT :n
""")
_PARTS = (NeuronPart.RECORDS, NeuronPart.SIMULATIONS, NeuronPart.IMPORTED)


@dataclass(frozen=True, slots=True)
class CalibrationLevel:
    """The true activations of the tokens whose simulation, when rounded, is `level`.

    All activations are on the neuron's scale from 0 to 10.
    """

    level: int
    tokens: int
    true: float
    quartile_1: float
    quartile_3: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The levels of a sample of a run's neurons."""

    neurons: int
    levels: list[CalibrationLevel]


def calibration(connection: Connection, run: StoredRun) -> Calibration:
    """Return the true activations by the simulated ones, on the scored records of a sample.

    The sample is the first scored neurons of each layer: numbers of neurons mean nothing, and
    neighbours are read fast.
    """
    layers = layers_of(connection, run.id)
    found: list[tuple[FloatArray, FloatArray]] = []
    n = 0
    for layer in layers:
        values = {"run": run.id, "layer": layer, "n": max(1, NEURONS // len(layers))}
        neurons = list(connection.scalars(_FIRST, values))
        n += len(neurons)
        for stored in load_neurons(connection, run.id, layer, neurons, _PARTS):
            found += _pairs(run, stored)
    return Calibration(n, _levels(found))


def _pairs(run: StoredRun, stored: StoredNeuron) -> list[tuple[FloatArray, FloatArray]]:
    """Return (true, simulated) of each scored record, from 0 to 10."""
    row = stored.records
    if row is None:
        return []
    places = [place for _, place in scored_places(run, stored)]
    pairs = []
    for place, true in zip(places, row.on(places), strict=True):
        simulation = stored.simulations.get(row.excerpts[place])
        if simulation is not None:
            expected, scale = simulation.expected_activations, simulation.activation_scale
            simulated = simulated_levels(expected, scale, row.max_activation)
            pairs.append((to_levels(true, row.max_activation), simulated))
    return pairs


def _levels(pairs: list[tuple[FloatArray, FloatArray]]) -> list[CalibrationLevel]:
    if not pairs:
        return []
    true, simulated = (np.concatenate(side) for side in zip(*pairs, strict=True))
    usable = np.isfinite(true) & np.isfinite(simulated)
    true, simulated = true[usable], np.rint(simulated[usable]).clip(0, MAX_NORMALIZED)
    return [
        CalibrationLevel(level, len(of_level), float(of_level.mean()), *_quartiles(of_level))
        for level in range(MAX_NORMALIZED + 1)
        if len(of_level := true[simulated == level])
    ]


def _quartiles(values: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(values, (0.25, 0.75))
    return float(low), float(high)
