"""Candidates for explanations, the sentences that test them, and how they were judged."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
)

from db.tables.base import METADATA, call_index, run_key


class CandidateColumns(TypedColumns):
    """An explanation that the explainer wrote for a neuron, in runs where it writes several.

    Drafts are numbered from 0; the revision has the number after the last of them.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    number: Named[int] = Column(SmallInteger, primary_key=True)
    text: Named[str] = Column(Text)
    explainer: Named[str] = Column(Text)
    call: Named[bytes | None]


candidate_table = Table(
    "candidate",
    METADATA,
    CandidateColumns,
    call_index("candidate"),
)


class CandidateScoreColumns(TypedColumns):
    """How well a candidate predicts held-back records, in the stage that chooses by it.

    `choose` judges drafts by the calibration split, `revise` judges a draft and its revision by
    that and by sentences. `score` is a correlation; `undefined_reason` says why there is none.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    stage: Named[str] = Column(Text, primary_key=True)
    number: Named[int] = Column(SmallInteger, primary_key=True)
    score: Named[float | None] = Column(Double)
    undefined_reason: Named[str | None] = Column(Text)


candidate_score_table = Table(
    "candidate_score",
    METADATA,
    CandidateScoreColumns,
    CheckConstraint("stage IN ('choose', 'revise')", name="stage_is_known"),
)


class SentenceColumns(TypedColumns):
    """A sentence that the explainer wrote to test its draft.

    `is_expected` says whether the neuron should fire on it if the draft is right. Sentences
    `for_judging` are not shown to the explainer when it revises. `tokens`, int32 (n_tokens,), and
    `activations`, float16 (n_tokens,), are NULL until the stage observe has run.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    number: Named[int] = Column(SmallInteger, primary_key=True)
    text: Named[str] = Column(Text)
    is_expected: Named[bool]
    for_judging: Named[bool]
    call: Named[bytes | None]
    tokens: Named[bytes | None]
    activations: Named[bytes | None]


sentence_table = Table(
    "sentence",
    METADATA,
    SentenceColumns,
    call_index("sentence", "number = 0"),  # all of a neuron are from one call
)
