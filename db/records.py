"""Activation records and token means of neurons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from db.codec import FLOAT16, FLOAT32, INT32
from db.rows import NeuronRows
from db.tables.records import neuron_records_table, token_means_table
from neurogloss.neurons.codec import split_array
from neurogloss.neurons.records import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronRecordsRow:
    """The activation records of a neuron, and the statistics of its activations.

    Record i is on excerpt `excerpts[i]`. `activations` is float16 (n_records, n_tokens) where all
    records have as many tokens, and `record_tokens` is None. Otherwise it is (n,), one record after
    the other, and `record_tokens` has their lengths; it is (n,) too where its size does not fit its
    records. `on` reads both. The lists index into the records: see `NeuronRecordsColumns`.
    """

    run_id: int
    layer: int
    neuron: int
    excerpts: list[int]
    activations: FloatArray
    top_records: list[int]
    random_records: list[int]
    bucket_records: list[int]
    buckets: list[int]
    quantile_boundaries: list[float]
    max_activation: float
    mean: float | None
    variance: float | None
    skewness: float | None
    kurtosis: float | None
    n_tokens: int | None
    undefined_reason: str | None
    record_tokens: list[int] | None = None

    def __post_init__(self) -> None:
        n_records, size = len(self.excerpts), self.activations.size
        is_flat = self.activations.ndim == 1 and self.record_tokens is None
        if is_flat and n_records and size % n_records == 0:
            # The class is frozen, and this is still a part of its construction.
            object.__setattr__(self, "activations", self.activations.reshape(n_records, -1))

    def on(self, records: Sequence[int]) -> list[FloatArray]:
        """Return the activations on some records, by their places, float16 (n_tokens,) each."""
        every: Sequence[FloatArray] = self.activations  # type: ignore[assignment]
        if self.record_tokens is not None:
            every = split_array(self.activations, self.record_tokens)
        return [every[place] for place in records]

    def on_all(self) -> list[FloatArray]:
        """Return the activations on all records, float16 (n_tokens,) each."""
        return self.on(range(len(self.excerpts)))


def joined_records(records: Sequence[FloatArray]) -> dict[str, Any]:
    """Return the fields `activations` and `record_tokens` of records, float16 (n_tokens,) each."""
    joined = np.concatenate(records) if records else np.empty(0, np.float16)
    return {"activations": joined, "record_tokens": stored_lengths(list(map(len, records)))}


def stored_lengths(lengths: list[int]) -> list[int] | None:
    """Return the field `record_tokens` of records of these lengths."""
    # None where one number says it all, as in every run without short documents.
    return lengths if len(set(lengths)) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlacesRow:
    """The excerpts of a neuron's records without its activations, which are most of the bytes."""

    run_id: int
    layer: int
    neuron: int
    excerpts: list[int]
    top_records: list[int]
    random_records: list[int]
    undefined_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMeansRow:
    """A neuron's token lookup table: see `TokenMeansColumns`.

    `tokens` int32, `means` float32 and `counts` int32 are (n_tokens,), sorted by token.
    """

    run_id: int
    layer: int
    neuron: int
    tokens: IntArray
    means: FloatArray
    counts: IntArray
    top_tokens: list[int]
    default_mean: float | None

    def top_means(self) -> list[tuple[int, float]]:
        """Return (token, mean activation) of the tokens of the highest means, in order."""
        means = self.means[np.searchsorted(self.tokens, self.top_tokens)]
        return list(zip(self.top_tokens, means.tolist(), strict=True))


neuron_records = NeuronRows(neuron_records_table, NeuronRecordsRow, {"activations": FLOAT16})
record_places = NeuronRows(neuron_records_table, RecordPlacesRow)
token_means = NeuronRows(
    token_means_table, TokenMeansRow, {"tokens": INT32, "means": FLOAT32, "counts": INT32}
)


def firing_neurons(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> list[int]:
    """Return which neurons of a range can be explained, in order."""
    columns = neuron_records_table.c
    query = select(columns.neuron).where(
        columns.run_id == run_id,
        columns.layer == layer,
        columns.neuron >= start,
        columns.neuron < stop,
    )
    of_range = query.where(columns.undefined_reason.is_(None)).order_by(columns.neuron)
    return list(connection.scalars(of_range))
