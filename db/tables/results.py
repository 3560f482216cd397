"""Results of neurons: explanations, simulations, scores, and failures in their place."""

from datetime import datetime

from sqlalchemy import REAL, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, ScoreColumns, call_index, run_key

# What is searched for words. The longest text whose words one index entry can hold in any case has
# about a million bytes.
WORDS = text("to_tsvector('simple'::regconfig, left(text, 100000))")


class ExplanationTable(Base):
    """The explanation of a neuron; one for each neuron and run."""

    __tablename__ = "explanation"
    __table_args__ = (
        Index("ix_explanation_words", WORDS, postgresql_using="gin"),
        call_index("explanation"),
    )

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    explainer: Mapped[str]
    call: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SimulationTable(Base):
    """A neuron's expected activations on one excerpt: float16 (n_tokens,).

    `distribution` is float16 (n_tokens, 11): the probabilities of the numbers 0 to 10
    among them, all 0 where none was likely. NULL if the simulator only names a number. `covered`
    is the mean probability of all numbers together. It is NULL where there is no distribution, and
    for simulations of before it was kept, whose distributions add up to it. `call` is the call that
    the simulation was read from, or the first of several.
    """

    __tablename__ = "simulation"
    __table_args__ = (call_index("simulation"),)

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    excerpt: Mapped[int] = mapped_column(primary_key=True)
    expected_activations: Mapped[bytes]
    distribution: Mapped[bytes | None]
    activation_scale: Mapped[str]
    simulator: Mapped[str]
    call: Mapped[bytes | None]
    covered: Mapped[float | None] = mapped_column(REAL)


class ScoreTable(ScoreColumns, Base):
    """How well simulations match activations; `undefined_reason` says why there is no score."""

    __tablename__ = "score"
    __table_args__ = (
        Index("ix_score_best", "run_id", "score"),
        Index("ix_score_recent", "run_id", "created_at"),
    )

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FailureTable(Base):
    """Why a neuron has no result in a stage."""

    __tablename__ = "failure"
    __table_args__ = (
        # The key begins with the stage, but a stage asks which neurons failed in any stage before
        # it.
        Index("ix_failure_neuron", "run_id", "layer", "neuron"),
        Index("ix_failure_class", "run_id", "stage", "failure_class", "failed_at"),
    )

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
    """How often a person retried a stage of a neuron: a part of the identity of its calls."""

    __tablename__ = "retry"

    run_id: Mapped[int] = run_key()
    stage: Mapped[str] = mapped_column(primary_key=True)
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    times: Mapped[int]
