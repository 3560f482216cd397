"""Simulate: the activations that follow from a neuron's explanation, on its scored records."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from db import results
from db.records import TokenMeansRow, token_means
from db.results import FailureRow, SimulationRow
from db.session import transaction
from neurogloss.errors import RowError
from neurogloss.neurons.codec import split_array
from neurogloss.neurons.lookup import LookupTable, simulate_by_lookup
from neurogloss.neurons.records import IntArray
from neurogloss.neurons.simulation import Simulation
from neurogloss.neurons.splits import Split
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.model_calls import failure_row
from worker.stages.scored_records import scored_excerpts
from worker.stages.simulations import SimulationInput, simulate_all
from worker.stages.vocabulary import texts_of

Results = tuple[list[SimulationRow], list[FailureRow]]


def simulate(shard: ClaimedShard) -> None:
    """Simulate the scored records of a shard's neurons that have no simulation yet.

    A neuron fails if one of its records fails: a score over the others would not be comparable.
    """
    kind = shard.config.simulator.kind
    simulations, failures = _by_lookup(shard) if kind == "lookup" else _by_calls(shard)
    with shard.committing() as connection:
        results.simulations.save(connection, simulations)
        results.failures.save(connection, failures)


def _wanted(shard: ClaimedShard) -> dict[int, dict[int, IntArray]]:
    """Return the tokens of the excerpts that each neuron is to be simulated on, by excerpt.

    These are the valid split and, in runs with calibration, the calibration split.
    """
    run_id, layer, start, stop = shard.neuron_range
    splits = [Split.VALID] + ([Split.CALIBRATION] if shard.config.scoring.calibration else [])
    wanted: dict[int, dict[int, IntArray]] = defaultdict(dict)
    with transaction(shard.engine) as connection:
        failed = results.failed(connection, run_id, up_to("simulate"), layer, start, stop)
        for split in splits:
            for scored in scored_excerpts(connection, shard, split):
                if scored.undefined_reason is None and scored.neuron not in failed:
                    pairs = zip(scored.excerpts.tolist(), scored.tokens, strict=True)
                    wanted[scored.neuron].update(pairs)
    return dict(wanted)


def _by_lookup(shard: ClaimedShard) -> Results:
    with transaction(shard.engine) as connection:
        rows = token_means.load(connection, *shard.neuron_range)
    tables = {row.neuron: _lookup_table(row) for row in rows}
    simulations: list[SimulationRow] = []
    for neuron, excerpts in _wanted(shard).items():
        # All records at once, because the steps of a lookup take as long for one as for all.
        expected = simulate_by_lookup(tables[neuron], np.concatenate(list(excerpts.values())))
        of_each = split_array(expected, list(map(len, excerpts.values())))
        simulations += (
            _row(shard, neuron, excerpt, Simulation(part), "neuron_activations", "lookup")
            for excerpt, part in zip(excerpts, of_each, strict=True)
        )
    return simulations, []


def _lookup_table(row: TokenMeansRow) -> LookupTable:
    assert row.default_mean is not None  # only imported ones lack it, and `lookup` is not for them
    return LookupTable(row.tokens, row.means, row.default_mean)


def _by_calls(shard: ClaimedShard) -> Results:
    wanted = list(_to_simulate(shard))
    simulations: list[SimulationRow] = []
    failures: dict[int, FailureRow] = {}
    for one, outcomes in zip(wanted, simulate_all(shard, wanted), strict=True):
        for excerpt, outcome in zip(one.keys, outcomes, strict=True):
            if isinstance(outcome, RowError):
                failures.setdefault(one.neuron, failure_row(shard, one.neuron, outcome))
            else:
                simulation, call = outcome
                scale, model = "simulated_normalized_activations", shard.config.simulator.model
                simulations.append(_row(shard, one.neuron, excerpt, simulation, scale, model, call))
    return simulations, list(failures.values())


def _to_simulate(shard: ClaimedShard) -> Iterator[SimulationInput]:
    """Yield the neurons that lack simulations, with the records that lack them."""
    run_id, layer, start, stop = shard.neuron_range
    wanted = _wanted(shard)
    with transaction(shard.engine) as connection:
        texts = texts_of(connection, shard)
        stored = results.expected_activations(connection, *shard.neuron_range)
        explanations = results.explanation_texts(connection, *shard.neuron_range)
        retries = results.retries(connection, run_id, "simulate", layer, start, stop)
    for neuron, excerpts in wanted.items():
        # After a retry, the records that were simulated before keep their simulations.
        missing = [excerpt for excerpt in excerpts if excerpt not in stored.get(neuron, {})]
        if missing:
            yield SimulationInput(
                neuron=neuron,
                explanation=explanations[neuron],
                keys=missing,
                texts=[[texts[token] for token in excerpts[e].tolist()] for e in missing],
                sample=retries.get(neuron, 0),
            )


def _row(
    shard: ClaimedShard,
    neuron: int,
    excerpt: int,
    simulation: Simulation,
    scale: str,
    simulator: str,
    call: bytes | None = None,
) -> SimulationRow:
    return SimulationRow(
        run_id=shard.claim.run_id,
        layer=shard.claim.layer,
        neuron=neuron,
        excerpt=excerpt,
        expected_activations=simulation.expected,
        distribution=simulation.distribution,
        activation_scale=scale,
        simulator=simulator,
        call=call,
        covered=simulation.covered,
    )
