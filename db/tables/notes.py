"""What people write about neurons."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class NeuronNoteTable(Base):
    """A flag on a neuron, a note about it, or both. Notes are added, and neither changed nor lost.

    `flag` says in a word what somebody thinks of the explanation.
    """

    __tablename__ = "neuron_note"
    __table_args__ = (
        CheckConstraint(
            "flag IN ('right', 'wrong', 'unclear', 'interesting')", name="flag_is_known"
        ),
        # What `db.notes.add` checks with better words; these hold for whoever may insert.
        CheckConstraint(
            "length(text) <= 2000 AND length(author) <= 100 AND (flag IS NOT NULL OR text <> '')",
            name="texts_are_bounded",
        ),
        Index("ix_neuron_note_run_id_layer_neuron_id", "run_id", "layer", "neuron", "id"),
        # For the limit by the minute, which counts the notes of all neurons.
        Index("ix_neuron_note_created_at", "created_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    layer: Mapped[int] = mapped_column(SmallInteger)
    neuron: Mapped[int]
    flag: Mapped[str | None]
    text: Mapped[str] = mapped_column(server_default="")
    author: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
