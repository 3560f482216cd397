"""Score: how well the simulations of a neuron match its true activations.

Then the further scorers of `scoring.also`, which make calls.
"""

from dataclasses import astuple

import numpy as np

from db import results, yardsticks
from db.session import transaction
from db.stages import up_to
from worker.neurons.scoring import NeuronScore, score_neuron, unscored
from worker.shard_work import ShardWork
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
        wanted = [
            scored
            for scored in scored_records(connection, work, layer, start, stop)
            if scored.neuron not in stored | failed
        ]
    rows = []
    for scored in wanted:
        found = _score(scored, simulated.get(scored.neuron, {}))
        rows.append((run_id, layer, scored.neuron, *astuple(found)))
    classified, failures = classify(work)
    with work.handing_in() as connection:
        results.save_scores(connection, rows)
        yardsticks.save_scorer_results(connection, classified)
        results.save_failures(connection, failures)


def _score(scored: ScoredRecords, simulated: dict[int, bytes]) -> NeuronScore:
    if scored.undefined_reason is not None:
        return unscored(scored.undefined_reason)
    expected = np.stack(
        [np.frombuffer(simulated[excerpt], np.float16) for excerpt in scored.excerpts.tolist()]
    )
    return score_neuron(scored.true, expected, scored.n_top)
