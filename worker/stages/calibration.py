"""The scores of a neuron after each calibration that its run asks for."""

from collections.abc import Iterator, Mapping
from dataclasses import astuple
from typing import Any

import numpy as np

from neurogloss.config.run import ScoringConfig
from neurogloss.neurons.calibration import CalibratedScore, calibrate
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import unscored
from worker.stages.scored_records import ScoredRecords


def expected_on(records: ScoredRecords, simulated: Mapping[int, bytes]) -> FloatArray:
    """Return what was simulated on records, float16 (n_records, n_tokens)."""
    return np.stack(
        [np.frombuffer(simulated[excerpt], np.float16) for excerpt in records.excerpts.tolist()]
    )


def calibrated_scores(
    scoring: ScoringConfig,
    held_back: ScoredRecords,
    scored: ScoredRecords,
    simulated: Mapping[int, bytes],
) -> Iterator[tuple[Any, ...]]:
    """Yield what follows the neuron in each row of `calibrated_score`."""
    for kind in scoring.calibration:
        if scored.undefined_reason is not None:
            found = CalibratedScore(unscored(scored.undefined_reason))
        else:
            on_held_back = held_back.true, expected_on(held_back, simulated)
            on_scored = scored.true, expected_on(scored, simulated)
            found = calibrate(kind, on_held_back, on_scored, scored.n_top)
        line = (None, None) if found.line is None else astuple(found.line)
        yield (kind, *astuple(found.scores), *line)
