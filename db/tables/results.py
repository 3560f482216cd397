"""What is made of a neuron: explanation, simulations, score, or why there is none."""

from datetime import datetime

from sqlalchemy import Index, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, ScoreColumns, run_key


class ExplanationTable(Base):
    """What the explainer wrote about a neuron. One for each neuron and run."""

    __tablename__ = "explanation"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    explainer: Mapped[str]
    call: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SimulationTable(Base):
    """What the simulator expects of a neuron on one excerpt: float16 (excerpt_tokens,).

    `distribution` is float16 (excerpt_tokens, 11): the probability that the simulator gave to each
    of the numbers 0 to 10; what a row lacks to 1 went to other tokens. NULL where the simulator
    only names a number. `call` is the call that it was read from, or the first of them.
    """

    __tablename__ = "simulation"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    excerpt: Mapped[int] = mapped_column(primary_key=True)
    expected_activations: Mapped[bytes]
    distribution: Mapped[bytes | None]
    activation_scale: Mapped[str]
    simulator: Mapped[str]
    call: Mapped[bytes | None]


class ScoreTable(ScoreColumns, Base):
    """How well the simulation matches the truth; `undefined_reason` says why there is no score."""

    __tablename__ = "score"
    __table_args__ = (Index("ix_score_best", "run_id", "score"),)

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FailureTable(Base):
    """Why a neuron has no result in a stage."""

    __tablename__ = "failure"

    run_id: Mapped[int] = run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    failure_class: Mapped[str]
    message: Mapped[str]
    attempts: Mapped[int]
    request_id: Mapped[str | None]
    failed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RetryTable(Base):
    """How often a person asked to try a neuron's stage again: part of a call's identity."""

    __tablename__ = "retry"

    run_id: Mapped[int] = run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    times: Mapped[int]
