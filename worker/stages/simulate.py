"""Simulate: what a neuron would do on its scored records, if its explanation were all of it."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from db import records, results
from db.session import transaction
from neurogloss.errors import RowError
from neurogloss.neurons.lookup import LookupTable, simulate_by_lookup
from neurogloss.neurons.records import IntArray
from neurogloss.neurons.simulation import Simulation
from neurogloss.neurons.splits import Split
from neurogloss.stages import up_to
from worker.shard import ShardWork
from worker.stages.model_calls import failure_row
from worker.stages.scored_records import scored_records
from worker.stages.simulations import ToSimulate, simulate_all
from worker.stages.vocabulary import texts_of

Rows = list[tuple[Any, ...]]


def simulate(work: ShardWork) -> None:
    """Simulate the scored records of a shard's neurons, as far as they are not stored yet.

    A neuron of which one record fails has failed: a score over the rest would be another score.
    """
    kind = work.config.simulator.kind
    simulations, failures = _by_lookup(work) if kind == "lookup" else _by_calls(work)
    with work.handing_in() as connection:
        results.save_simulations(connection, simulations)
        results.save_failures(connection, failures)


def _wanted(work: ShardWork) -> dict[int, dict[int, IntArray]]:
    """Return the tokens of each excerpt that each neuron is simulated on: those to be scored.

    With those of the calibration split, where simulations are calibrated.
    """
    run_id, layer, start, stop = work.neuron_range
    splits = [Split.VALID] + ([Split.CALIBRATION] if work.config.scoring.calibration else [])
    wanted: dict[int, dict[int, IntArray]] = defaultdict(dict)
    with transaction(work.engine) as connection:
        failed = results.failed(connection, run_id, up_to("simulate"), layer, start, stop)
        for split in splits:
            for scored in scored_records(connection, work, layer, start, stop, split):
                if scored.undefined_reason is None and scored.neuron not in failed:
                    pairs = zip(scored.excerpts.tolist(), scored.tokens, strict=True)
                    wanted[scored.neuron].update(pairs)
    return dict(wanted)


def _by_lookup(work: ShardWork) -> tuple[Rows, Rows]:
    with transaction(work.engine) as connection:
        rows = records.token_means(connection, *work.neuron_range)
    tables = {
        row["neuron"]: LookupTable(
            np.frombuffer(row["tokens"], np.int32),
            np.frombuffer(row["means"], np.float32),
            row["default_mean"],
        )
        for row in rows
    }
    simulations: Rows = []
    for neuron, excerpts in _wanted(work).items():
        expected = simulate_by_lookup(tables[neuron], np.stack(list(excerpts.values())))
        for excerpt, values in zip(excerpts, expected, strict=True):
            simulation, scale = Simulation(values), "neuron_activations"
            simulations.append(_row(work, neuron, excerpt, simulation, scale, "lookup"))
    return simulations, []


def _by_calls(work: ShardWork) -> tuple[Rows, Rows]:
    wanted = list(_to_simulate(work))
    simulations: Rows = []
    failures: dict[int, tuple[Any, ...]] = {}
    for one, outcomes in zip(wanted, simulate_all(work, wanted), strict=True):
        for excerpt, outcome in zip(one.keys, outcomes, strict=True):
            if isinstance(outcome, RowError):
                failures.setdefault(one.neuron, failure_row(work, one.neuron, outcome))
            else:
                simulation, call = outcome
                scale, model = "simulated_normalized_activations", work.config.simulator.model
                simulations.append(_row(work, one.neuron, excerpt, simulation, scale, model, call))
    return simulations, list(failures.values())


def _to_simulate(work: ShardWork) -> Iterator[ToSimulate]:
    """Yield the neurons that lack simulations, with the records that lack them."""
    run_id, layer, start, stop = work.neuron_range
    wanted = _wanted(work)
    with transaction(work.engine) as connection:
        texts = texts_of(connection, work)
        stored = results.simulations(connection, *work.neuron_range)
        explanations = results.explanations(connection, *work.neuron_range)
        retries = results.retries(connection, run_id, "simulate", layer, start, stop)
    for neuron, excerpts in wanted.items():
        missing = [excerpt for excerpt in excerpts if excerpt not in stored.get(neuron, {})]
        if missing:
            yield ToSimulate(
                neuron=neuron,
                explanation=explanations[neuron],
                keys=missing,
                texts=[[texts[token] for token in excerpts[e].tolist()] for e in missing],
                sample=retries.get(neuron, 0),
            )


def _row(
    work: ShardWork,
    neuron: int,
    excerpt: int,
    simulation: Simulation,
    scale: str,
    simulator: str,
    call: bytes | None = None,
) -> tuple[Any, ...]:
    place = (work.claim.run_id, work.claim.layer, neuron, excerpt)
    expected = simulation.expected.astype(np.float16).tobytes()
    covered = simulation.distribution
    distribution = None if covered is None else covered.astype(np.float16).tobytes()
    return (*place, expected, distribution, scale, simulator, call)
