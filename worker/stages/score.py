"""Score: how well the simulations of a neuron match its true activations.

Then the further scorers of `scoring.also`, which make calls.
"""

from collections.abc import Mapping
from dataclasses import astuple

from sqlalchemy import Connection

from db import evaluations, results
from db.session import transaction
from neurogloss.neurons.scoring import NeuronScore, score_neuron, unscored
from neurogloss.neurons.splits import Split
from neurogloss.stages import up_to
from worker.shard import ClaimedShard
from worker.stages.calibration import calibrated_scores, expected_on
from worker.stages.classify import classify
from worker.stages.scored_records import ScoredRecords, scored_records


def score(shard: ClaimedShard) -> None:
    """Score the neurons of a shard that have no score yet.

    A neuron that failed before has no score, and counts as failed here too.
    """
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        stored = results.scored(connection, *shard.neuron_range)
        failed = results.failed(connection, run_id, up_to("simulate"), layer, start, stop)
        simulated = results.simulations(connection, *shard.neuron_range)
        held_back = _held_back(connection, shard)
        wanted = [
            scored
            for scored in scored_records(connection, shard, layer, start, stop)
            if scored.neuron not in stored | failed
        ]
    rows, calibrated = [], []
    for scored in wanted:
        key = (run_id, layer, scored.neuron)
        of_neuron = simulated.get(scored.neuron, {})
        rows.append((*key, *astuple(_score(scored, of_neuron))))
        if held_back:
            pair = held_back[scored.neuron], scored
            found = calibrated_scores(shard.config.scoring, *pair, of_neuron)
            calibrated += [(*key, *row) for row in found]
    classified, failures = classify(shard)
    with shard.committing() as connection:
        results.save_scores(connection, rows)
        evaluations.save_calibrated_scores(connection, calibrated)
        evaluations.save_scorer_results(connection, classified)
        results.save_failures(connection, failures)


def _held_back(connection: Connection, shard: ClaimedShard) -> dict[int, ScoredRecords]:
    """Return the records that simulations are calibrated on, if they are, by neuron."""
    if not shard.config.scoring.calibration:
        return {}
    _, layer, start, stop = shard.neuron_range
    found = scored_records(connection, shard, layer, start, stop, Split.CALIBRATION)
    return {records.neuron: records for records in found}


def _score(scored: ScoredRecords, simulated: Mapping[int, bytes]) -> NeuronScore:
    if scored.undefined_reason is not None:
        return unscored(scored.undefined_reason)
    return score_neuron(scored.true, expected_on(scored, simulated), scored.n_top)
