"""What the tables share: names of constraints, types of columns."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    REAL,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    metadata = MetaData(
        # With names of our own, migrations can drop constraints on every database alike.
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy reads it as it stands)
        str: Text,
        bytes: LargeBinary,
        float: Double,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[int]: ARRAY(Integer),
        list[float]: ARRAY(REAL),
    }


def table_of(model: type[Base]) -> Table:
    """Return the table that a class declares."""
    table = model.__table__
    assert isinstance(table, Table)  # a mapped class may declare a join instead; ours do not
    return table


def run_key() -> Mapped[int]:
    return mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)


def call_index(table: str, condition: str | None = None) -> Index:
    """Return the index by which the rows are found that use a call; its keys are hashes already."""
    where = None if condition is None else text(condition)
    return Index(f"ix_{table}_call", "call", postgresql_using="hash", postgresql_where=where)


def score_column() -> Mapped[Any]:
    return mapped_column(sort_order=1)  # after the columns of the class that it is mixed into


class ScoreColumns:
    """Scores of a neuron, as in `neurogloss.neurons.scoring`, or why there are none."""

    score: Mapped[float | None] = score_column()
    score_top: Mapped[float | None] = score_column()
    score_random: Mapped[float | None] = score_column()
    rsquared: Mapped[float | None] = score_column()
    absolute_dev_explained: Mapped[float | None] = score_column()
    undefined_reason: Mapped[str | None] = score_column()
