"""Scores of baselines and calibrations, results of further scorers and of ablations."""

from dataclasses import dataclass, fields

from sqlalchemy import Connection, text

from db.rows import NeuronRows
from db.tables.evaluations import (
    ablation_table,
    baseline_score_table,
    calibrated_score_table,
    scorer_result_table,
)


@dataclass(frozen=True, slots=True)
class BaselineScoreRow:
    """The scores of a prediction that needs no explanation: `lookup`, `token_list`, `weights`."""

    run_id: int
    layer: int
    neuron: int
    baseline: str
    score: float | None
    score_top: float | None
    score_random: float | None
    rsquared: float | None
    absolute_dev_explained: float | None
    undefined_reason: str | None


@dataclass(frozen=True, slots=True)
class CalibratedScoreRow:
    """The scores of a simulation on the scale of the activations; the line if it is linear."""

    run_id: int
    layer: int
    neuron: int
    calibration: str
    score: float | None
    score_top: float | None
    score_random: float | None
    rsquared: float | None
    absolute_dev_explained: float | None
    undefined_reason: str | None
    slope: float | None
    intercept: float | None


@dataclass(frozen=True, slots=True)
class ScorerResultRow:
    """The result of a further scorer for a neuron's explanation: `detection`, `fuzzing`."""

    run_id: int
    layer: int
    neuron: int
    scorer: str
    score: float | None
    auc: float | None
    n_positive: int
    n_negative: int
    undefined_reason: str | None
    call: bytes | None


@dataclass(frozen=True, slots=True)
class AblationRow:
    """The share of a neuron's effect on the output that its simulation reproduces."""

    run_id: int
    layer: int
    neuron: int
    score: float | None
    divergence_simulated: float | None
    divergence_mean: float | None
    undefined_reason: str | None


baseline_scores = NeuronRows(baseline_score_table, BaselineScoreRow)
calibrated_scores = NeuronRows(calibrated_score_table, CalibratedScoreRow)
scorer_results = NeuronRows(scorer_result_table, ScorerResultRow)
ablations = NeuronRows(ablation_table, AblationRow)


@dataclass(frozen=True, slots=True)
class BaselineMeans:
    """Mean scores of a baseline in a layer: a row of the view baseline_summary."""

    run: str
    baseline: str
    layer: int
    n: int
    undefined: int
    score: float | None
    median_score: float | None
    score_top: float | None
    score_random: float | None


_BASELINE_MEANS = text(f"""
    SELECT {", ".join(field.name for field in fields(BaselineMeans))}
    FROM baseline_summary WHERE run = :run ORDER BY layer, baseline
""")  # noqa: S608  (names of our own columns)


def baseline_means(connection: Connection, run: str) -> list[BaselineMeans]:
    """Return the mean scores of a run's baselines, by layer."""
    return [BaselineMeans(*row) for row in connection.execute(_BASELINE_MEANS, {"run": run})]
