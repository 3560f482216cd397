"""What the tables share: names of constraints, types of columns."""

from sqlalchemy import (
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    MetaData,
    Named,
    Text,
    TypedColumns,
    text,
)

# Tables and their columns are SQLAlchemy's Core. Its ORM takes 0.2 s to import and to map 50
# classes, which every command would pay, and nothing here loads objects.
METADATA = MetaData(
    # With names of our own, migrations can drop constraints on every database alike.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TIMESTAMPTZ = DateTime(timezone=True)


def run_key() -> Column[int]:
    return Column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)


def call_index(table: str, condition: str | None = None) -> Index:
    """Return the index by which the rows are found that use a call; its keys are hashes already."""
    where = None if condition is None else text(condition)
    return Index(f"ix_{table}_call", "call", postgresql_using="hash", postgresql_where=where)


class ScoreValueColumns(TypedColumns):
    """Scores of a neuron, as in `neurogloss.neurons.scoring`, or why there are none."""

    score: Named[float | None] = Column(Double)
    score_top: Named[float | None] = Column(Double)
    score_random: Named[float | None] = Column(Double)
    rsquared: Named[float | None] = Column(Double)
    absolute_dev_explained: Named[float | None] = Column(Double)
    undefined_reason: Named[str | None] = Column(Text)
