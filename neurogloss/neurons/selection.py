"""Which excerpts become a neuron's activation records.

The corpus is in random order, by seed. On its first excerpts, the reference, the quantile
boundaries of a neuron's maxima are measured; from all others its random and its bucket records are
drawn. So the boundaries are exact and known when a draw is made, and one pass over the text serves
every record:

- top: the excerpts of the highest maximum, ties to the lower excerpt;
- random: the excerpts of the lowest priority to the neuron, those outside the reference first;
- bucket: of the excerpts outside the reference with their maximum in the bucket, those of the
  lowest priority. The first bucket is open below, the last above.

Each kind keeps the lowest keys, int64 with the excerpt in the low 32 bits. No two keys of a neuron
are equal, so what is kept depends neither on the order of the excerpts nor on how they were cut.
Keys are computed with operators only: they take arrays of numpy and of torch alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurogloss.neurons.records import FloatArray, IntArray
from neurogloss.neurons.sampling import priorities

QUANTILES = (0.5, 0.9, 0.99, 0.999)
N_BUCKETS = len(QUANTILES) + 1
MAX_REFERENCE = 4096
NEVER = 2**63 - 1  # above every key
_ROWS_AT_ONCE = 16_384  # of which copies are made
UNRANKED = 2**31 - 1  # above every rank


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """How many records of each kind, from a corpus of how many excerpts.

    There are fewer where the corpus, or a bucket, has fewer excerpts.
    """

    n_excerpts: int
    top: int
    random: int
    per_bucket: int

    @property
    def n_reference(self) -> int:
        return n_reference(self.n_excerpts)

    @property
    def draws_outside(self) -> bool:
        """Whether no random record comes from the reference."""
        return self.n_excerpts - self.n_reference >= self.random

    @property
    def counts(self) -> list[int]:
        """How many records of each kind: top, random, and each bucket."""
        return [self.top, self.random, *[self.per_bucket] * N_BUCKETS]


def n_reference(n_excerpts: int) -> int:
    """Return how many excerpts are reference excerpts; they come first in a corpus."""
    return min(n_excerpts // 2, MAX_REFERENCE)


def quantile_boundaries(maxima: FloatArray) -> FloatArray:
    """Return float32 (n_neurons, 4) boundaries of float16 maxima (n_excerpts, n_neurons)."""
    values = np.quantile(maxima.astype(np.float32), QUANTILES, axis=0)
    return np.ascontiguousarray(values.T, dtype=np.float32)


def _rising(bits: Any) -> Any:
    """Turn the bits of float16, signed integers, into integers of the same order, or back."""
    return bits ^ ((bits >> 15) & 0x7FFF)


def top_keys(bits: Any, excerpts: Any) -> Any:
    """Return the keys for top records.

    Args:
        bits: int64, the 16 bits, signed, of finite float16 maxima. No negative zero.
        excerpts: int64.
    """
    return ((0x8000 - _rising(bits)) << 32) | excerpts


def draw_keys(neuron_keys: Any, excerpts: Any, n_excerpts: int) -> Any:
    """Return the keys for random and bucket records, int64 like the arguments."""
    late = (excerpts < n_reference(n_excerpts)) * (1 << 30)
    return ((priorities(neuron_keys, excerpts) + late) << 32) | excerpts


@dataclass(frozen=True, slots=True)
class Kept:
    """Candidates of the neurons of a layer: one row for each neuron and excerpt.

    `columns` int32 (n,) are places among the layer's neurons, `excerpts` int32 (n,), `activations`
    float16 (n, excerpt_tokens).
    """

    columns: IntArray
    excerpts: IntArray
    activations: FloatArray

    def rows(self, chosen: NDArray[Any]) -> "Kept":
        """Return some of the rows."""
        return Kept(self.columns[chosen], self.excerpts[chosen], self.activations[chosen])


@dataclass(frozen=True, slots=True)
class Ranking:
    """Keys and, from 0, ranks of candidates within neuron and kind.

    Kinds are top, random, and each bucket. `keys` are int64 (n,) for each kind, `ranks` int32
    (n_kinds, n). A row that is not of a kind has rank UNRANKED.
    """

    keys: list[IntArray]
    ranks: IntArray
    counts: list[int]

    @property
    def chosen(self) -> NDArray[np.bool_]:
        """Whether a row is among the wanted records of a kind, of shape (n_kinds, n)."""
        return np.asarray(self.ranks < np.array(self.counts)[:, None])

    @property
    def needed(self) -> IntArray:
        """The rows that are among the wanted records of any kind."""
        return np.flatnonzero(self.chosen.any(axis=0))

    def highest(self, kept: Kept, n_neurons: int) -> FloatArray:
        """Return each neuron's highest activation, float32 (n_neurons,), of ranked candidates."""
        first = np.flatnonzero(self.ranks[0] == 0)
        highest = np.full(n_neurons, np.nan, dtype=np.float32)
        highest[kept.columns[first]] = kept.activations[first].max(axis=1)
        return highest

    def bars(self, columns: IntArray, n_neurons: int) -> IntArray:
        """Return the highest keys that can still matter, int64 (n_kinds, n_neurons)."""
        bars = np.full((len(self.counts), n_neurons), NEVER)
        for bar, keys, ranks, count in zip(bars, self.keys, self.ranks, self.counts, strict=True):
            last = ranks == count - 1
            bar[columns[last]] = keys[last]
        return bars


def rank(
    kept: Kept, wanted: RecordCounts, neuron_keys: IntArray, boundaries: FloatArray | None
) -> Ranking:
    """Rank candidates for every kind of record.

    Args:
        kept: The candidates.
        wanted: What they are candidates for.
        neuron_keys: Of the layer's neurons, by column.
        boundaries: Float32 (n_neurons, 4); None while only reference excerpts were read.
    """
    columns, excerpts = kept.columns, kept.excerpts.astype(np.int64)
    maxima = _maxima(kept.activations)
    best = top_keys(maxima.view(np.int16).astype(np.int64), excerpts)
    drawn = draw_keys(neuron_keys[columns], excerpts, wanted.n_excerpts)
    keys = [best, drawn, *[drawn] * N_BUCKETS]
    bucket = np.full(len(columns), -1)
    if boundaries is not None:
        outside = excerpts >= wanted.n_reference
        bucket[outside] = _buckets_of(maxima[outside], boundaries[columns[outside]])
    ranks = np.full((len(keys), len(columns)), UNRANKED, dtype=np.int32)
    ranks[0], ranks[1] = _ranks(columns, best), _ranks(columns, drawn)
    for number in range(N_BUCKETS):
        members = bucket == number
        ranks[2 + number, members] = _ranks(columns[members], drawn[members])
    return Ranking(keys, ranks, wanted.counts)


def _maxima(activations: FloatArray) -> FloatArray:
    """Return the maxima (n,) of finite float16 (n, n_tokens), a negative zero as zero."""
    rising = np.empty(len(activations), dtype=np.int16)  # numpy is slow at float16
    for start in range(0, len(rising), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        rising[rows] = _rising(activations[rows].view(np.int16)).max(axis=1)
    return np.asarray(_rising(np.where(rising == -1, np.int16(0), rising)).view(np.float16))


def _buckets_of(maxima: FloatArray, boundaries: FloatArray) -> IntArray:
    """Return 0 .. 4 for each maximum: how many of its own boundaries (n, 4) it reaches."""
    return np.asarray((maxima.astype(np.float32)[:, None] >= boundaries).sum(axis=1))


def _ranks(columns: IntArray, keys: IntArray) -> IntArray:
    order = np.argsort(keys)  # no two of a column are equal
    narrow = np.uint16 if len(order) and columns.max() < 2**16 else np.int64  # numpy counts uint16
    order = order[np.argsort(columns[order].astype(narrow), kind="stable")]
    ranks = np.empty(len(order), dtype=np.int32)
    ranks[order] = _places(columns[order])
    return ranks


def _places(sorted_columns: IntArray) -> IntArray:
    """Return each row's place, from 0, among those of its neuron."""
    at = np.arange(len(sorted_columns))
    begins = np.ones(len(at), dtype=bool)
    begins[1:] = sorted_columns[1:] != sorted_columns[:-1]
    return np.asarray(at - np.maximum.accumulate(np.where(begins, at, 0)))


@dataclass(frozen=True, slots=True)
class Records:
    """A neuron's records: distinct excerpts with activations, and where each kind stands in them.

    `activations` is float16 (n_records, excerpt_tokens); the lists below it index its rows, but for
    `buckets`, the bucket of each bucket record.
    """

    excerpts: list[int]
    activations: FloatArray
    top: list[int]
    random: list[int]
    bucket_records: list[int]
    buckets: list[int]


def select_records(kept: Kept, ranking: Ranking, n_neurons: int) -> Iterator[Records]:
    """Choose the records of every neuron of a layer, in order of column.

    Its rows are in the order of top, random and bucket records, each as ranked.
    """
    needed = ranking.needed
    columns = kept.columns[needed]
    chosen = ranking.chosen[:, needed]
    ranks = np.where(chosen, ranking.ranks[:, needed], UNRANKED)
    order = np.lexsort((*ranks[::-1], columns))
    needed, columns = needed[order], columns[order]
    chosen, ranks = chosen[:, order], ranks[:, order]
    places = _places(columns)
    kinds = [_by_rank(columns, places, *kind) for kind in zip(chosen, ranks, strict=True)]
    lists = [_split(*kind, n_neurons) for kind in kinds]
    ends = np.searchsorted(columns, np.arange(n_neurons + 1))
    for column in range(n_neurons):
        rows = needed[ends[column] : ends[column + 1]]
        top, random, *buckets = (kind[column] for kind in lists)
        yield Records(
            excerpts=kept.excerpts[rows].tolist(),
            activations=kept.activations[rows],
            top=top,
            random=random,
            bucket_records=[place for members in buckets for place in members],
            buckets=[number for number, members in enumerate(buckets) for _ in members],
        )


def _by_rank(
    columns: IntArray, places: IntArray, chosen: NDArray[np.bool_], ranks: IntArray
) -> tuple[IntArray, IntArray]:
    rows = np.flatnonzero(chosen)
    rows = rows[np.lexsort((ranks[rows], columns[rows]))]
    return columns[rows], places[rows]


def _split(columns: IntArray, places: IntArray, n_neurons: int) -> list[list[int]]:
    ends = np.searchsorted(columns, np.arange(n_neurons + 1)).tolist()
    listed = places.tolist()
    return [listed[ends[n] : ends[n + 1]] for n in range(n_neurons)]
