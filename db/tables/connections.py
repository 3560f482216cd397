"""What a neuron's weights connect it to; the products are in `neurogloss.subject.weights`."""

from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    Integer,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.tables.base import METADATA, run_key


class RelatedNeuronsColumns(TypedColumns):
    """Neurons of earlier (`upstream`) or later (`downstream`) layers, by the strongest weights.

    Element i is neuron (`layers[i]`, `neurons[i]`) with `weights[i]`, the highest weight first: the
    highest that are above 0, then the lowest that are below 0. Empty where there is no such layer.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    direction: Named[str] = Column(Text, primary_key=True)
    layers: Named[list[int]] = Column(ARRAY(SmallInteger))
    neurons: Named[list[int]] = Column(ARRAY(Integer))
    weights: Named[list[float]] = Column(ARRAY(REAL))


related_neurons_table = Table(
    "related_neurons",
    METADATA,
    RelatedNeuronsColumns,
    CheckConstraint("direction IN ('upstream', 'downstream')", name="direction_is_known"),
)


class RelatedTokensColumns(TypedColumns):
    """The tokens that drive a neuron (`input`), or that it drives (`output`), by weight.

    `tokens` and `weights` are in the order of `RelatedNeuronsColumns`.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    direction: Named[str] = Column(Text, primary_key=True)
    tokens: Named[list[int]] = Column(ARRAY(Integer))
    weights: Named[list[float]] = Column(ARRAY(REAL))


related_tokens_table = Table(
    "related_tokens",
    METADATA,
    RelatedTokensColumns,
    CheckConstraint("direction IN ('input', 'output')", name="direction_is_known"),
)
