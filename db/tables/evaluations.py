"""What stands beside a score: baselines, calibrations, further scorers, ablations."""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    func,
)

from db.tables.base import METADATA, TIMESTAMPTZ, ScoreValueColumns, call_index, run_key


class BaselineScoreColumns(ScoreValueColumns):
    """The scores of a prediction without an explanation, on the records that are scored.

    `lookup` predicts a token's mean activation; `token_list` does so for the 50 tokens of the
    highest mean only; `weights` predicts the token's embedding times the input weights. Scores are
    as in `score`.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    baseline: Named[str] = Column(Text, primary_key=True)


baseline_score_table = Table(
    "baseline_score",
    METADATA,
    BaselineScoreColumns,
    CheckConstraint("baseline IN ('lookup', 'token_list', 'weights')", name="baseline_is_known"),
)


class ScorerResultColumns(TypedColumns):
    """The result of a further scorer for a neuron's explanation.

    `detection` asks which excerpts match the explanation, `fuzzing` in which of them the right
    tokens are marked. Over `n_positive` + `n_negative` excerpts, `score` is the balanced accuracy,
    and `auc` the area under the ROC curve, if the answers have probabilities.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    scorer: Named[str] = Column(Text, primary_key=True)
    score: Named[float | None] = Column(Double)
    auc: Named[float | None] = Column(Double)
    n_positive: Named[int] = Column(SmallInteger)
    n_negative: Named[int] = Column(SmallInteger)
    undefined_reason: Named[str | None] = Column(Text)
    call: Named[bytes | None]
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


scorer_result_table = Table(
    "scorer_result",
    METADATA,
    ScorerResultColumns,
    call_index("scorer_result"),
)


class CalibratedScoreColumns(ScoreValueColumns):
    """Scores of a simulation after its calibration to the scale of the activations.

    `linear` is `slope` * s + `intercept`, fitted on the calibration split; `percentile` maps
    quantiles of simulations to quantiles of activations there. A slope that is not positive gives
    no score.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    calibration: Named[str] = Column(Text, primary_key=True)
    slope: Named[float | None] = Column(Double)
    intercept: Named[float | None] = Column(Double)


calibrated_score_table = Table(
    "calibrated_score",
    METADATA,
    CalibratedScoreColumns,
    CheckConstraint("calibration IN ('linear', 'percentile')", name="calibration_is_known"),
)


class AblationColumns(TypedColumns):
    """How much of a neuron's effect on the output its simulation has as well.

    `divergence_simulated` is the mean Jensen-Shannon divergence, in nats, between the subject
    model's predictions and those with the simulation in place of the neuron; `divergence_mean` the
    same with its mean activation in place. `score` is 1 - simulated / mean.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    score: Named[float | None] = Column(Double)
    divergence_simulated: Named[float | None] = Column(Double)
    divergence_mean: Named[float | None] = Column(Double)
    undefined_reason: Named[str | None] = Column(Text)


ablation_table = Table("ablation", METADATA, AblationColumns)
