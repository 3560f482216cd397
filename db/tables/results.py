"""Results of neurons: explanations, simulations, scores, and failures in their place."""

from datetime import datetime

from sqlalchemy import (
    REAL,
    Column,
    Index,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    func,
    text,
)

from db.tables.base import METADATA, TIMESTAMPTZ, ScoreValueColumns, call_index, run_key

# What is searched for words. The longest text whose words one index entry can hold in any case has
# about a million bytes.
WORDS = text("to_tsvector('simple'::regconfig, left(text, 100000))")


class ExplanationColumns(TypedColumns):
    """The explanation of a neuron; one for each neuron and run."""

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    text: Named[str] = Column(Text)
    explainer: Named[str] = Column(Text)
    call: Named[bytes | None]
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


explanation_table = Table(
    "explanation",
    METADATA,
    ExplanationColumns,
    Index("ix_explanation_words", WORDS, postgresql_using="gin"),
    call_index("explanation"),
)


class SimulationColumns(TypedColumns):
    """A neuron's expected activations on one excerpt: float16 (n_tokens,).

    `distribution` is float16 (n_tokens, 11): the probabilities of the numbers 0 to 10
    among them, all 0 where none was likely. NULL if the simulator only names a number. `covered`
    is the mean probability of all numbers together. It is NULL where there is no distribution, and
    for simulations of before it was kept, whose distributions add up to it. `call` is the call that
    the simulation was read from, or the first of several.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    excerpt: Named[int] = Column(primary_key=True)
    expected_activations: Named[bytes]
    distribution: Named[bytes | None]
    activation_scale: Named[str] = Column(Text)
    simulator: Named[str] = Column(Text)
    call: Named[bytes | None]
    covered: Named[float | None] = Column(REAL)


simulation_table = Table(
    "simulation",
    METADATA,
    SimulationColumns,
    call_index("simulation"),
)


class ScoreColumns(ScoreValueColumns):
    """How well simulations match activations; `undefined_reason` says why there is no score."""

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


score_table = Table(
    "score",
    METADATA,
    ScoreColumns,
    Index("ix_score_best", "run_id", "score"),
    Index("ix_score_recent", "run_id", "created_at"),
)


class FailureColumns(TypedColumns):
    """Why a neuron has no result in a stage."""

    run_id: Named[int] = run_key()
    stage: Named[str] = Column(Text, primary_key=True)
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    failure_class: Named[str] = Column(Text)
    message: Named[str] = Column(Text)
    attempts: Named[int]
    request_id: Named[str | None] = Column(Text)
    failed_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


failure_table = Table(
    "failure",
    METADATA,
    FailureColumns,
    # The key begins with the stage, but a stage asks which neurons failed in any stage before
    # it.
    Index("ix_failure_neuron", "run_id", "layer", "neuron"),
    Index("ix_failure_class", "run_id", "stage", "failure_class", "failed_at"),
)


class RetryColumns(TypedColumns):
    """How often a person retried a stage of a neuron: a part of the identity of its calls."""

    run_id: Named[int] = run_key()
    stage: Named[str] = Column(Text, primary_key=True)
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    times: Named[int]


retry_table = Table("retry", METADATA, RetryColumns)
