"""Candidates for explanations, the sentences that test them, and how they were judged."""

from sqlalchemy import CheckConstraint, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, call_index, run_key


class CandidateTable(Base):
    """An explanation that the explainer wrote for a neuron, in runs where it writes several.

    Drafts are numbered from 0; the revision has the number after the last of them.
    """

    __tablename__ = "candidate"
    __table_args__ = (call_index("candidate"),)

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    text: Mapped[str]
    explainer: Mapped[str]
    call: Mapped[bytes | None]


class CandidateScoreTable(Base):
    """How well a candidate predicts held-back records, in the stage that chooses by it.

    `choose` judges drafts by the calibration split, `revise` judges a draft and its revision by
    that and by sentences. `score` is a correlation; `undefined_reason` says why there is none.
    """

    __tablename__ = "candidate_score"
    __table_args__ = (CheckConstraint("stage IN ('choose', 'revise')", name="stage_is_known"),)

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    score: Mapped[float | None]
    undefined_reason: Mapped[str | None]


class SentenceTable(Base):
    """A sentence that the explainer wrote to test its draft.

    `is_expected` says whether the neuron should fire on it if the draft is right. Sentences
    `for_judging` are not shown to the explainer when it revises. `tokens`, int32 (n_tokens,), and
    `activations`, float16 (n_tokens,), are NULL until the stage observe has run.
    """

    __tablename__ = "sentence"
    __table_args__ = (call_index("sentence", "number = 0"),)  # all of a neuron are from one call

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    text: Mapped[str]
    is_expected: Mapped[bool]
    for_judging: Mapped[bool]
    call: Mapped[bytes | None]
    tokens: Mapped[bytes | None]
    activations: Mapped[bytes | None]
