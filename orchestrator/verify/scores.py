"""Are the simulations of a neuron those that its scores need, and the scores what they give?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from sqlalchemy import RowMapping

from neurogloss.config.run import RunConfig
from neurogloss.neurons.calibration import calibrate
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import NeuronScore, score_neuron, unscored
from neurogloss.neurons.splits import Split
from orchestrator.verify.stored_neurons import StoredNeuron
from worker.stages.scored_records import activations_of, scored_places

SCORES = tuple(column.name for column in fields(NeuronScore))


@dataclass(frozen=True, slots=True)
class _Records:
    """Some records of a neuron: where they stand among them, and how many are top records."""

    places: list[int]
    excerpts: list[int]
    n_top: int

    @classmethod
    def of(cls, row: RowMapping, config: RunConfig, split: Split) -> "_Records":
        places, n_top = scored_places(row, config.scoring, split)
        return cls(places, [row["excerpts"][place] for place in places], n_top)


def score_faults(stored: StoredNeuron, config: RunConfig, n_tokens: int) -> Iterator[str]:
    """Yield what differs. Scores are recomputed only where all simulations are in order."""
    if stored.records is None:
        return
    scored = _Records.of(stored.records, config, Split.VALID)
    held_back = _Records.of(stored.records, config, Split.CALIBRATION)
    owed = [*scored.excerpts, *(held_back.excerpts if config.scoring.calibration else [])]
    found = list(_simulation_faults(stored, owed, n_tokens))
    yield from found
    if not found and stored.score is not None:
        yield from _differences(stored.score, _score(stored, scored), "")
        yield from _calibration_faults(stored, config, scored, held_back)


def _simulation_faults(stored: StoredNeuron, owed: Sequence[int], n_tokens: int) -> Iterator[str]:
    strange = stored.simulations.keys() - set(owed)
    if strange:
        yield f"excerpt {min(strange)} is simulated, which is not among its scored records"
    for excerpt, row in stored.simulations.items():
        if len(row["expected_activations"]) != 2 * n_tokens:
            yield f"the simulation on excerpt {excerpt} has not {n_tokens} activations"
        elif not np.isfinite(_expected(row)).all():
            yield f"the simulation on excerpt {excerpt} is not finite"
        distribution = row["distribution"]
        if distribution is not None and len(distribution) != 2 * 11 * n_tokens:
            yield f"the distribution on excerpt {excerpt} is not of {n_tokens} tokens"
    is_scored = stored.score is not None and not stored.failed_up_to("simulate")
    if stored.is_owed_by("simulate") or (is_scored and not stored.is_undefined):
        missing = set(owed) - stored.simulations.keys()
        if missing:
            yield f"the simulation on excerpt {min(missing)} is missing"


def _expected(row: RowMapping) -> Any:
    return np.frombuffer(row["expected_activations"], np.float16)


def _pair(stored: StoredNeuron, records: _Records) -> tuple[FloatArray, FloatArray]:
    """Return true and simulated activations, (n_records, n_tokens) each."""
    if stored.records is None:
        raise ValueError("the neuron has no records")
    simulated = np.stack([_expected(stored.simulations[excerpt]) for excerpt in records.excerpts])
    return activations_of(stored.records)[records.places], simulated


def _score(stored: StoredNeuron, scored: _Records) -> NeuronScore:
    """Score a neuron as the score stage does, from what is stored."""
    if stored.records is not None and stored.records["undefined_reason"] is not None:
        return unscored(stored.records["undefined_reason"])
    return score_neuron(*_pair(stored, scored), scored.n_top)


def _calibration_faults(
    stored: StoredNeuron, config: RunConfig, scored: _Records, held_back: _Records
) -> Iterator[str]:
    rows = {row["calibration"]: row for row in stored.rows["calibrated_score"]}
    for kind in config.scoring.calibration:
        if kind not in rows:
            yield f"it has a score, and none after {kind} calibration"
        elif stored.is_undefined:
            yield from _differences(
                rows[kind], _score(stored, scored), f"after {kind} calibration, "
            )
        else:
            pairs = _pair(stored, held_back), _pair(stored, scored)
            right = calibrate(kind, *pairs, scored.n_top)
            yield from _differences(rows[kind], right.scores, f"after {kind} calibration, ")
            line = None if right.line is None else astuple(right.line)
            found = rows[kind]["slope"], rows[kind]["intercept"]
            if found != (line or (None, None)):
                yield f"the line of {kind} calibration is {found}, by its rows {line}"


def _differences(row: Mapping[Any, Any], right: NeuronScore, what: str) -> Iterator[str]:
    for name, value in zip(SCORES, astuple(right), strict=True):
        if row[name] != value:
            yield f"{what}{name} is {row[name]}, by its rows {value}"
