"""Ablate: how much of what a neuron does to the output its simulation does too."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy import RowMapping

from db import evaluations, records, results, runs
from db.session import transaction
from neurogloss.neurons.calibration import LinearCalibration
from neurogloss.stages import up_to
from neurogloss.subject.ablation import ablate as compare_outputs
from worker.shard import ClaimedShard
from worker.stages.calibration import expected_on
from worker.stages.forward_pass import go_on, subject_of
from worker.stages.scored_records import ScoredRecords, scored_records

Row = tuple[Any, ...]  # of `ablation`, but for the neuron


def ablate(shard: ClaimedShard) -> None:
    """Ablate the marked neurons of a shard that were not yet.

    The simulation takes the neuron's place by its linear calibration. Neurons that failed before
    are passed over.
    """
    run_id, layer, start, stop = shard.neuron_range
    with transaction(shard.engine) as connection:
        wanted = set(runs.ablated_in(connection, *shard.neuron_range))
        wanted -= results.failed(connection, run_id, up_to("ablate"), layer, start, stop)
        wanted -= {row["neuron"] for row in evaluations.ablations(connection, *shard.neuron_range)}
        lines = _lines(evaluations.calibrated_scores(connection, *shard.neuron_range))
        simulated = results.simulations(connection, *shard.neuron_range)
        means = {
            row["neuron"]: row["mean"] for row in records.load(connection, *shard.neuron_range)
        }
        found = list(scored_records(connection, shard, layer, start, stop))
    check, rows = go_on(shard), []
    for scored in found:
        if scored.neuron in wanted:
            check()
            of_neuron = simulated.get(scored.neuron, {})
            row = _ablate(shard, scored, lines.get(scored.neuron), of_neuron, means[scored.neuron])
            rows.append((run_id, layer, scored.neuron, *row))
    with shard.committing() as connection:
        evaluations.save_ablations(connection, rows)


def _lines(rows: Any) -> dict[int, RowMapping]:
    return {row["neuron"]: row for row in rows if row["calibration"] == "linear"}


def _ablate(
    shard: ClaimedShard,
    scored: ScoredRecords,
    line: RowMapping | None,
    simulated: Mapping[int, bytes],
    mean: float | None,
) -> Row:
    if line is None or line["undefined_reason"] is not None:
        return _undefined("not_calibrated" if line is None else line["undefined_reason"])
    if mean is None:
        return _undefined("nonfinite_activations")
    calibrated = LinearCalibration(line["slope"], line["intercept"]).apply(
        expected_on(scored, simulated)
    )
    place = (shard.claim.layer, scored.neuron)
    found = compare_outputs(subject_of(shard), *place, scored.tokens, calibrated, mean)
    if not np.isfinite((found.simulated, found.mean)).all():
        return _undefined("nonfinite_output")
    reason = "no_effect" if found.score is None else None
    return found.score, found.simulated, found.mean, reason


def _undefined(reason: str) -> Row:
    return None, None, None, reason
