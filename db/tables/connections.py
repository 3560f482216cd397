"""What a neuron's weights connect it to; the products are in `neurogloss.subject.weights`."""

from sqlalchemy import CheckConstraint, SmallInteger
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class RelatedNeuronsTable(Base):
    """Neurons of earlier (`upstream`) or later (`downstream`) layers, by the strongest weights.

    Element i is neuron (`layers[i]`, `neurons[i]`) with `weights[i]`, the highest weight first: the
    highest that are above 0, then the lowest that are below 0. Empty where there is no such layer.
    """

    __tablename__ = "related_neurons"
    __table_args__ = (
        CheckConstraint("direction IN ('upstream', 'downstream')", name="direction_is_known"),
    )

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    direction: Mapped[str] = mapped_column(primary_key=True)
    layers: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    neurons: Mapped[list[int]]
    weights: Mapped[list[float]]


class RelatedTokensTable(Base):
    """The tokens that drive a neuron (`input`), or that it drives (`output`), by weight.

    `tokens` and `weights` are in the order of `RelatedNeuronsTable`.
    """

    __tablename__ = "related_tokens"
    __table_args__ = (
        CheckConstraint("direction IN ('input', 'output')", name="direction_is_known"),
    )

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    direction: Mapped[str] = mapped_column(primary_key=True)
    tokens: Mapped[list[int]]
    weights: Mapped[list[float]]
