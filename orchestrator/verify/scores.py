"""Check that a neuron has the simulations for its scores, and that its scores follow from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from db.control_scores import ControlScoreRow
from db.evaluations import CalibratedScoreRow
from db.records import NeuronRecordsRow
from db.results import ScoreRow
from neurogloss.config.run import RunConfig
from neurogloss.neurons.calibration import calibrate
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray
from neurogloss.neurons.scoring import NeuronScore, score_neuron, unscored
from neurogloss.neurons.splits import Split, split_places
from orchestrator.verify.checked_neuron import CheckedNeuron

SCORES = tuple(column.name for column in fields(NeuronScore))


@dataclass(frozen=True, slots=True)
class SplitRecords:
    """The records of one split of a neuron.

    `places` are their places among all its records; the first `n_top` are top records.
    """

    places: list[int]
    excerpts: list[int]
    n_top: int

    @classmethod
    def of(cls, row: NeuronRecordsRow, config: RunConfig, split: Split) -> "SplitRecords":
        lists = row.top_records, row.random_records
        places, n_top = split_places(*lists, split, config.scoring.top, config.scoring.random)
        return cls(places, [row.excerpts[place] for place in places], n_top)


def score_faults(checked: CheckedNeuron, config: RunConfig) -> Iterator[str]:
    """Yield faults of simulations; if there are none, yield differences of scores."""
    records, score = checked.stored.records, checked.stored.score
    if records is None:
        return
    scored = SplitRecords.of(records, config, Split.VALID)
    held_back = SplitRecords.of(records, config, Split.CALIBRATION)
    owed = [*scored.excerpts, *(held_back.excerpts if config.scoring.calibration else [])]
    lengths = dict(zip(records.excerpts, map(len, records.on_all()), strict=True))
    faults = list(_simulation_faults(checked, owed, lengths))
    yield from faults
    if not faults and score is not None:
        yield from score_differences(score, _score(checked, scored), "")
        yield from _calibration_faults(checked, config, scored, held_back)


def _simulation_faults(
    checked: CheckedNeuron, owed: Sequence[int], lengths: Mapping[int, int]
) -> Iterator[str]:
    simulations = checked.stored.simulations
    if strange := simulations.keys() - set(owed):
        yield f"excerpt {min(strange)} is simulated, which is not among its scored records"
    for excerpt in simulations.keys() & lengths.keys():
        row, n_tokens = simulations[excerpt], lengths[excerpt]
        if row.expected_activations.shape != (n_tokens,):
            yield f"the simulation on excerpt {excerpt} has not {n_tokens} activations"
        elif not np.isfinite(row.expected_activations).all():
            yield f"the simulation on excerpt {excerpt} is not finite"
        shape = (n_tokens, MAX_NORMALIZED + 1)
        if row.distribution is not None and row.distribution.shape != shape:
            yield f"the distribution on excerpt {excerpt} is not of {n_tokens} tokens"
    is_scored = checked.stored.score is not None and not checked.failed_up_to("simulate")
    if checked.is_owed_by("simulate") or (is_scored and checked.undefined_reason is None):
        missing = set(owed) - simulations.keys()
        if missing:
            yield f"the simulation on excerpt {min(missing)} is missing"


def _pair(
    checked: CheckedNeuron, records: SplitRecords
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return true and simulated activations on some records."""
    stored = checked.stored
    if stored.records is None:
        raise ValueError("the neuron has no records")
    simulated = [stored.simulations[excerpt].expected_activations for excerpt in records.excerpts]
    return stored.records.on(records.places), simulated


def _score(checked: CheckedNeuron, scored: SplitRecords) -> NeuronScore:
    """Compute the score of a neuron from its stored simulations, as the stage `score` does."""
    if checked.undefined_reason is not None:
        return unscored(checked.undefined_reason)
    return score_neuron(*_pair(checked, scored), scored.n_top)


def _calibration_faults(
    checked: CheckedNeuron, config: RunConfig, scored: SplitRecords, held_back: SplitRecords
) -> Iterator[str]:
    rows = checked.stored.calibrated
    for kind in config.scoring.calibration:
        if kind not in rows:
            yield f"it has a score, and none after {kind} calibration"
        elif checked.undefined_reason is not None:
            right_score = _score(checked, scored)
            yield from score_differences(rows[kind], right_score, f"after {kind} calibration, ")
        else:
            pairs = _pair(checked, held_back), _pair(checked, scored)
            right = calibrate(kind, *pairs, scored.n_top)
            yield from score_differences(rows[kind], right.scores, f"after {kind} calibration, ")
            right_line = None if right.line is None else astuple(right.line)
            line = rows[kind].slope, rows[kind].intercept
            if line != (right_line or (None, None)):
                yield f"the line of {kind} calibration is {line}, by its rows {right_line}"


def score_differences(
    row: ScoreRow | CalibratedScoreRow | ControlScoreRow, right: NeuronScore, what: str
) -> Iterator[str]:
    """Yield the scores of a row that are not the right ones; `what` comes before their names."""
    for name, value in zip(SCORES, astuple(right), strict=True):
        # Without a tolerance: a score that is recomputed from stored float16 values has the same
        # bits, on the same kind of CPU.
        if getattr(row, name) != value:
            yield f"{what}{name} is {getattr(row, name)}, by its rows {value}"
