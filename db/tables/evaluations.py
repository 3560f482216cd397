"""What stands beside a score: baselines, calibrations, further scorers, ablations."""

from datetime import datetime

from sqlalchemy import CheckConstraint, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, ScoreColumns, call_index, run_key


class BaselineScoreTable(ScoreColumns, Base):
    """The scores of a prediction without an explanation, on the records that are scored.

    `lookup` predicts a token's mean activation; `token_list` does so for the 50 tokens of the
    highest mean only; `weights` predicts the token's embedding times the input weights. Scores are
    as in `score`.
    """

    __tablename__ = "baseline_score"
    __table_args__ = (
        CheckConstraint(
            "baseline IN ('lookup', 'token_list', 'weights')", name="baseline_is_known"
        ),
    )

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    baseline: Mapped[str] = mapped_column(primary_key=True)


class ScorerResultTable(Base):
    """The result of a further scorer for a neuron's explanation.

    `detection` asks which excerpts match the explanation, `fuzzing` in which of them the right
    tokens are marked. Over `n_positive` + `n_negative` excerpts, `score` is the balanced accuracy,
    and `auc` the area under the ROC curve, if the answers have probabilities.
    """

    __tablename__ = "scorer_result"
    __table_args__ = (call_index("scorer_result"),)

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    scorer: Mapped[str] = mapped_column(primary_key=True)
    score: Mapped[float | None]
    auc: Mapped[float | None]
    n_positive: Mapped[int] = mapped_column(SmallInteger)
    n_negative: Mapped[int] = mapped_column(SmallInteger)
    undefined_reason: Mapped[str | None]
    call: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CalibratedScoreTable(ScoreColumns, Base):
    """Scores of a simulation after its calibration to the scale of the activations.

    `linear` is `slope` * s + `intercept`, fitted on the calibration split; `percentile` maps
    quantiles of simulations to quantiles of activations there. A slope that is not positive gives
    no score.
    """

    __tablename__ = "calibrated_score"
    __table_args__ = (
        CheckConstraint("calibration IN ('linear', 'percentile')", name="calibration_is_known"),
    )

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    calibration: Mapped[str] = mapped_column(primary_key=True)
    slope: Mapped[float | None] = mapped_column(sort_order=2)
    intercept: Mapped[float | None] = mapped_column(sort_order=2)


class AblationTable(Base):
    """How much of a neuron's effect on the output its simulation has as well.

    `divergence_simulated` is the mean Jensen-Shannon divergence, in nats, between the subject
    model's predictions and those with the simulation in place of the neuron; `divergence_mean` the
    same with its mean activation in place. `score` is 1 - simulated / mean.
    """

    __tablename__ = "ablation"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    score: Mapped[float | None]
    divergence_simulated: Mapped[float | None]
    divergence_mean: Mapped[float | None]
    undefined_reason: Mapped[str | None]
