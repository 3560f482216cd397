"""Ablate: how much of a neuron's effect on the output its simulation has as well."""

from collections.abc import Mapping

import numpy as np

from db import results, runs
from db.evaluations import AblationRow, CalibratedScoreRow, ablations, calibrated_scores
from db.records import neuron_records
from db.session import transaction
from neurogloss.neurons.calibration import LinearCalibration
from neurogloss.neurons.records import FloatArray
from neurogloss.stages import up_to
from neurogloss.subject.ablation import ablate as compare_outputs
from worker.shard import ClaimedShard
from worker.stages.forward_pass import interruption_check, subject_of
from worker.stages.score import expected_on
from worker.stages.scored_records import ScoredRecords, scored_records


def ablate(shard: ClaimedShard) -> None:
    """Ablate the marked neurons of a shard that have no result yet.

    The simulation replaces the activations after its linear calibration. Neurons that failed in an
    earlier stage are left out.
    """
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        wanted = set(runs.ablated_in(connection, *shard.neuron_range))
        wanted -= results.failed(connection, run_id, up_to("ablate"), layer, start, stop)
        wanted -= {row.neuron for row in ablations.load(connection, *shard.neuron_range)}
        lines = {
            row.neuron: row
            for row in calibrated_scores.load(connection, *shard.neuron_range)
            if row.calibration == "linear"
        }
        simulated = results.expected_activations(connection, *shard.neuron_range)
        rows = neuron_records.load(connection, *shard.neuron_range)
        means = {row.neuron: row.mean for row in rows}
        records = [
            scored
            for scored in scored_records(connection, shard, layer, start, stop)
            if scored.neuron in wanted
        ]
    check = interruption_check(shard)
    ablated: list[AblationRow] = []
    for scored in records:
        # Between neurons, since each takes several forward passes: a worker that is told to stop
        # does so soon.
        check()
        neuron = scored.neuron
        of_neuron = simulated.get(neuron, {})
        ablated.append(_ablate(shard, scored, lines.get(neuron), of_neuron, means[neuron]))
    with shard.committing() as connection:
        ablations.save(connection, ablated)


def _ablate(
    shard: ClaimedShard,
    scored: ScoredRecords,
    line: CalibratedScoreRow | None,
    simulated: Mapping[int, FloatArray],
    mean: float | None,
) -> AblationRow:
    key = (shard.claim.run_id, shard.claim.layer, scored.neuron)
    if line is None or line.undefined_reason is not None:
        reason = "not_calibrated" if line is None else line.undefined_reason
        return AblationRow(*key, None, None, None, reason)
    if mean is None:
        return AblationRow(*key, None, None, None, "nonfinite_activations")
    assert line.slope is not None and line.intercept is not None  # as there is no reason for none
    calibration = LinearCalibration(line.slope, line.intercept)
    calibrated = [calibration.apply(record) for record in expected_on(scored, simulated)]
    place = (shard.claim.layer, scored.neuron)
    outputs = compare_outputs(subject_of(shard), *place, scored.tokens, calibrated, mean)
    if not np.isfinite((outputs.simulated, outputs.mean)).all():
        return AblationRow(*key, None, None, None, "nonfinite_output")
    reason = "no_effect" if outputs.score is None else None
    return AblationRow(*key, outputs.score, outputs.simulated, outputs.mean, reason)
