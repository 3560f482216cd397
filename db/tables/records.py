"""Activation records, statistics and token lookup tables of neurons."""

from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    Double,
    Integer,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.tables.base import METADATA, run_key


class NeuronRecordsColumns(TypedColumns):
    """The activation records of a neuron, and the statistics of its activations.

    Record i is on excerpt `excerpts[i]`. `activations` is float16 (n,), one record after the other;
    `record_tokens` has their lengths, and is NULL where all records have the same length.
    `top_records` and `random_records` index into them, in rank order; `bucket_records` too, where
    record i belongs to quantile bucket `buckets[i]`. Moments are over all tokens of the corpus;
    they are NULL where an imported neuron has none.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    excerpts: Named[list[int]] = Column(ARRAY(Integer))
    activations: Named[bytes]
    top_records: Named[list[int]] = Column(ARRAY(SmallInteger))
    random_records: Named[list[int]] = Column(ARRAY(SmallInteger))
    bucket_records: Named[list[int]] = Column(ARRAY(SmallInteger))
    buckets: Named[list[int]] = Column(ARRAY(SmallInteger))
    quantile_boundaries: Named[list[float]] = Column(ARRAY(REAL))
    max_activation: Named[float] = Column(Double)
    mean: Named[float | None] = Column(Double)
    variance: Named[float | None] = Column(Double)
    skewness: Named[float | None] = Column(Double)
    kurtosis: Named[float | None] = Column(Double)
    n_tokens: Named[int | None] = Column(BigInteger)
    undefined_reason: Named[str | None] = Column(Text)
    record_tokens: Named[list[int] | None] = Column(ARRAY(Integer))


neuron_records_table = Table("neuron_records", METADATA, NeuronRecordsColumns)


class TokenMeansColumns(TypedColumns):
    """A neuron's token lookup table, without the excerpts on which the neuron is scored.

    It holds the tokens of the scored records and those of the highest mean, sorted: `tokens` int32
    (n,), `means` float32 (n,), `counts` int32 (n,). `top_tokens` are the highest means, in order.
    """

    run_id: Named[int] = run_key()
    layer: Named[int] = Column(SmallInteger, primary_key=True)
    neuron: Named[int] = Column(primary_key=True)
    tokens: Named[bytes]
    means: Named[bytes]
    counts: Named[bytes]
    top_tokens: Named[list[int]] = Column(ARRAY(Integer))
    default_mean: Named[float | None] = Column(Double)


token_means_table = Table("token_means", METADATA, TokenMeansColumns)
