"""What lists, heat maps and plots of neurons read, in place of all tables that say it."""

from sqlalchemy import (
    Column,
    Computed,
    Double,
    Index,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    text,
)

from db.tables.base import METADATA, run_key

SORTED = ("score", "score_top", "score_random", "gap", "max_activation", "usd")
"""The numbers by which lists are sorted, each by an index of its own."""


class ListedNeuronColumns(TypedColumns):
    """A neuron as lists show it: what the view `neuron_summary` says, and its lookup baseline.

    There is a row for each neuron of a run; it is renewed in the transaction that changes a result.
    `gap` is how far the score is above that of the baseline `lookup`.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    state: Named[str] = Column(Text, server_default="waiting")
    score: Named[float | None] = Column(Double)
    score_top: Named[float | None] = Column(Double)
    score_random: Named[float | None] = Column(Double)
    lookup_score: Named[float | None] = Column(Double)
    gap: Named[float | None] = Column(Double, Computed("score - lookup_score", persisted=True))
    max_activation: Named[float | None] = Column(Double)
    skewness: Named[float | None] = Column(Double)
    usd: Named[float | None] = Column(Double)


listed_neuron_table = Table(
    "listed_neuron",
    METADATA,
    ListedNeuronColumns,
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
