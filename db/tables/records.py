"""Activation records, statistics and token lookup tables of neurons."""

from sqlalchemy import BigInteger, SmallInteger
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class NeuronRecordsTable(Base):
    """The activation records of a neuron, and the statistics of its activations.

    Record i is on excerpt `excerpts[i]`. `activations` is float16 (n,), one record after the other;
    `record_tokens` has their lengths, and is NULL where all records have the same length.
    `top_records` and `random_records` index into them, in rank order; `bucket_records` too, where
    record i belongs to quantile bucket `buckets[i]`. Moments are over all tokens of the corpus;
    they are NULL where an imported neuron has none.
    """

    __tablename__ = "neuron_records"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    excerpts: Mapped[list[int]]
    activations: Mapped[bytes]
    top_records: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    random_records: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    bucket_records: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    buckets: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    quantile_boundaries: Mapped[list[float]]
    max_activation: Mapped[float]
    mean: Mapped[float | None]
    variance: Mapped[float | None]
    skewness: Mapped[float | None]
    kurtosis: Mapped[float | None]
    n_tokens: Mapped[int | None] = mapped_column(BigInteger)
    undefined_reason: Mapped[str | None]
    record_tokens: Mapped[list[int] | None]


class TokenMeansTable(Base):
    """A neuron's token lookup table, without the excerpts on which the neuron is scored.

    It holds the tokens of the scored records and those of the highest mean, sorted: `tokens` int32
    (n,), `means` float32 (n,), `counts` int32 (n,). `top_tokens` are the highest means, in order.
    """

    __tablename__ = "token_means"

    run_id: Mapped[int] = run_key()
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    neuron: Mapped[int] = mapped_column(primary_key=True)
    tokens: Mapped[bytes]
    means: Mapped[bytes]
    counts: Mapped[bytes]
    top_tokens: Mapped[list[int]]
    default_mean: Mapped[float | None]
