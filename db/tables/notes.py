"""What people write about neurons."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    func,
)

from db.tables.base import METADATA, TIMESTAMPTZ


class NeuronNoteColumns(TypedColumns):
    """A flag on a neuron, a note about it, or both. Notes are added, and neither changed nor lost.

    `flag` says in a word what somebody thinks of the explanation.
    """

    id: Named[int] = Column(BigInteger, Identity(), primary_key=True)
    run_id: Named[int] = Column(ForeignKey("run.id", ondelete="CASCADE"))
    layer: Named[int] = Column(SmallInteger)
    neuron: Named[int]
    flag: Named[str | None] = Column(Text)
    text: Named[str] = Column(Text, server_default="")
    author: Named[str] = Column(Text, server_default="")
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


neuron_note_table = Table(
    "neuron_note",
    METADATA,
    NeuronNoteColumns,
    CheckConstraint("flag IN ('right', 'wrong', 'unclear', 'interesting')", name="flag_is_known"),
    # What `db.notes.add` checks with better words; these hold for whoever may insert.
    CheckConstraint(
        "length(text) <= 2000 AND length(author) <= 100 AND (flag IS NOT NULL OR text <> '')",
        name="texts_are_bounded",
    ),
    Index("ix_neuron_note_run_id_layer_neuron_id", "run_id", "layer", "neuron", "id"),
    # For the limit by the minute, which counts the notes of all neurons.
    Index("ix_neuron_note_created_at", "created_at"),
)
