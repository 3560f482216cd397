"""What lists, heat maps and plots of neurons read, in place of all tables that say it."""

from sqlalchemy import Computed, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key

SORTED = ("score", "score_top", "score_random", "gap", "max_activation", "usd")
"""The numbers by which lists are sorted, each by an index of its own."""


class ListedNeuronTable(Base):
    """A neuron as lists show it: what the view `neuron_summary` says, and its lookup baseline.

    There is a row for each neuron of a run; it is renewed in the transaction that changes a result.
    `gap` is how far the score is above that of the baseline `lookup`.
    """

    __tablename__ = "listed_neuron"
    __table_args__ = (
        *(
            Index(
                f"ix_listed_neuron_{name}",
                "run_id",
                name,
                "layer",
                "neuron",
                # A list that is sorted by a number has only the neurons that have it.
                postgresql_where=text(f"{name} IS NOT NULL"),
            )
            for name in SORTED
        ),
        Index(
            # Most neurons are scored in the end: an index of the rare states alone stays small.
            "ix_listed_neuron_rare",
            "run_id",
            "state",
            "layer",
            "neuron",
            postgresql_where=text("state IN ('failed', 'undefined')"),
        ),
    )

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default="waiting")
    score: Mapped[float | None]
    score_top: Mapped[float | None]
    score_random: Mapped[float | None]
    lookup_score: Mapped[float | None]
    gap: Mapped[float | None] = mapped_column(Computed("score - lookup_score", persisted=True))
    max_activation: Mapped[float | None]
    skewness: Mapped[float | None]
    usd: Mapped[float | None]
