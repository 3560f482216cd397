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
from worker.shard import ShardWork
from worker.stages.calibration import calibrated_scores, expected_on
from worker.stages.classify import classify
from worker.stages.scored_records import ScoredRecords, scored_records


def score(work: ShardWork) -> None:
    """Score the neurons of a shard that have no score yet.

    A neuron that failed before has no score, and counts as failed here too.
    """
    run_id, layer, start, stop = work.neuron_range
    with transaction(work.engine) as connection:
        stored = results.scored(connection, *work.neuron_range)
        failed = results.failed(connection, run_id, up_to("simulate"), layer, start, stop)
        simulated = results.simulations(connection, *work.neuron_range)
        held_back = _held_back(connection, work)
        wanted = [
            scored
            for scored in scored_records(connection, work, layer, start, stop)
            if scored.neuron not in stored | failed
        ]
    rows, calibrated = [], []
    for scored in wanted:
        key = (run_id, layer, scored.neuron)
        of_neuron = simulated.get(scored.neuron, {})
        rows.append((*key, *astuple(_score(scored, of_neuron))))
        if held_back:
            pair = held_back[scored.neuron], scored
            found = calibrated_scores(work.config.scoring, *pair, of_neuron)
            calibrated += [(*key, *row) for row in found]
    classified, failures = classify(work)
    with work.handing_in() as connection:
        results.save_scores(connection, rows)
        evaluations.save_calibrated_scores(connection, calibrated)
        evaluations.save_scorer_results(connection, classified)
        results.save_failures(connection, failures)


def _held_back(connection: Connection, work: ShardWork) -> dict[int, ScoredRecords]:
    """Return the records that simulations are calibrated on, if they are, by neuron."""
    if not work.config.scoring.calibration:
        return {}
    _, layer, start, stop = work.neuron_range
    found = scored_records(connection, work, layer, start, stop, Split.CALIBRATION)
    return {records.neuron: records for records in found}


def _score(scored: ScoredRecords, simulated: Mapping[int, bytes]) -> NeuronScore:
    if scored.undefined_reason is not None:
        return unscored(scored.undefined_reason)
    return score_neuron(scored.true, expected_on(scored, simulated), scored.n_top)
