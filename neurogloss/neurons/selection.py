"""Selection of the excerpts that become a neuron's activation records.

The corpus is in random order, by seed. Its first excerpts are the reference: on them the quantile
boundaries of each neuron's maxima are measured. Random and bucket records are drawn from the other
excerpts. So the boundaries are known when a draw is made, and one pass over the corpus serves all
kinds of record:

- top: the excerpts with the highest maxima; of equal ones the lower excerpt;
- random: the excerpts with the lowest priority for the neuron, those outside the reference first;
- bucket: of the excerpts outside the reference whose maximum lies in the bucket, those with the
  lowest priority. The first bucket has no lower bound, the last no upper bound.

Each kind keeps the excerpts with the lowest keys, int64 with the excerpt in the low 32 bits. No two
keys of a neuron are equal, so the selection depends neither on the order in which excerpts are read
nor on how the corpus is cut into shards. Keys are computed with operators only, which take arrays
of numpy and of torch alike.
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
MAX_REFERENCE = 4096  # of which 4 lie above the 0.999 quantile
PADDING = -np.inf  # in place of an activation after the end of a short excerpt: never a maximum
NEVER = 2**63 - 1  # above every key: an excerpt with this key is never kept
UNRANKED = 2**31 - 1  # above every rank
_ROWS_AT_ONCE = 16_384  # copied at a time, so that the copies stay small


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """The number of records to select of each kind, and the number of excerpts in the corpus.

    Fewer are selected where the corpus, or a bucket, has fewer excerpts.
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
        """Whether all random records come from outside the reference."""
        return self.n_excerpts - self.n_reference >= self.random

    @property
    def per_kind(self) -> list[int]:
        """The number of records of each kind: top, random, and each bucket."""
        return [self.top, self.random, *[self.per_bucket] * N_BUCKETS]


def n_reference(n_excerpts: int) -> int:
    """Return how many of the first excerpts of a corpus are the reference."""
    # Half at most: random and bucket records come from the other excerpts.
    return min(n_excerpts // 2, MAX_REFERENCE)


def quantile_boundaries(maxima: FloatArray) -> FloatArray:
    """Return the boundaries, float32 (n_neurons, 4), of maxima, float16 (n_excerpts, n_neurons)."""
    # float32: interpolation between two float16 values is not exact in float16.
    values = np.quantile(maxima.astype(np.float32), QUANTILES, axis=0)
    return np.ascontiguousarray(values.T, dtype=np.float32)


def _sortable(bits: Any) -> Any:
    """Map the bits of float16, as signed integers, to integers of the same order, or back.

    Negative floats are stored as sign and magnitude, so that their bits sort the wrong way round.
    """
    return bits ^ ((bits >> 15) & 0x7FFF)


def top_keys(bits: Any, excerpts: Any) -> Any:
    """Return the keys for top records, int64.

    Args:
        bits: The signed 16 bits of finite float16 maxima, as int64. There is no negative zero.
        excerpts: int64.
    """
    return ((0x8000 - _sortable(bits)) << 32) | excerpts


def draw_keys(neuron_keys: Any, excerpts: Any, n_excerpts: int) -> Any:
    """Return the keys for random and bucket records, int64 like the arguments."""
    # Bit 30, above every priority, puts the reference after all other excerpts.
    in_reference = (excerpts < n_reference(n_excerpts)) * (1 << 30)
    return ((priorities(neuron_keys, excerpts) + in_reference) << 32) | excerpts


@dataclass(frozen=True, slots=True)
class KeptExcerpts:
    """Excerpts kept for the neurons of a layer so far, one row for each neuron and excerpt.

    `columns` int32 (n,) are places among the layer's neurons. `excerpts` is int32 (n,),
    `activations` float16 (n, excerpt_tokens), with PADDING after the end of short excerpts.
    """

    columns: IntArray
    excerpts: IntArray
    activations: FloatArray

    def rows(self, chosen: NDArray[Any]) -> "KeptExcerpts":
        """Return the chosen rows, by indices or by a mask."""
        return KeptExcerpts(self.columns[chosen], self.excerpts[chosen], self.activations[chosen])


@dataclass(frozen=True, slots=True)
class ExcerptRanking:
    """Keys of kept excerpts, and their ranks from 0 within each neuron and kind of record.

    The kinds are top, random, and each bucket. `keys` is int64 (n,) for each kind, `ranks` int32
    (n_kinds, n), `counts` the number of records to select. A row that does not belong to a kind has
    rank UNRANKED.
    """

    keys: list[IntArray]
    ranks: IntArray
    counts: list[int]

    @property
    def chosen(self) -> NDArray[np.bool_]:
        """Whether a row is among the records of a kind, bool (n_kinds, n)."""
        return np.asarray(self.ranks < np.array(self.counts)[:, None])

    @property
    def needed(self) -> IntArray:
        """The rows that are among the records of any kind, ascending."""
        return np.flatnonzero(self.chosen.any(axis=0))

    def highest(self, kept: KeptExcerpts, n_neurons: int) -> FloatArray:
        """Return each neuron's highest activation, float32 (n_neurons,); NaN without any row."""
        first = np.flatnonzero(self.ranks[0] == 0)
        highest = np.full(n_neurons, np.nan, dtype=np.float32)
        # Rank 0 among top records is the excerpt with the highest maximum.
        highest[kept.columns[first]] = kept.activations[first].max(axis=1)
        return highest

    def bars(self, columns: IntArray, n_neurons: int) -> IntArray:
        """Return the highest key that can still be selected, int64 (n_kinds, n_neurons).

        It is NEVER where fewer excerpts are kept than are to be selected.
        """
        bars = np.full((len(self.counts), n_neurons), NEVER)
        for bar, keys, ranks, count in zip(bars, self.keys, self.ranks, self.counts, strict=True):
            last = ranks == count - 1
            bar[columns[last]] = keys[last]
        return bars


def rank_excerpts(
    kept: KeptExcerpts, counts: RecordCounts, neuron_keys: IntArray, boundaries: FloatArray | None
) -> ExcerptRanking:
    """Rank kept excerpts for every kind of record.

    Args:
        kept: The excerpts.
        counts: How many records of each kind are to be selected.
        neuron_keys: The keys of the layer's neurons, int64 (n_neurons,).
        boundaries: float32 (n_neurons, 4); None as long as only the reference was read.
    """
    columns, excerpts = kept.columns, kept.excerpts.astype(np.int64)
    maxima = _maxima(kept.activations)
    best = top_keys(maxima.view(np.int16).astype(np.int64), excerpts)
    drawn = draw_keys(neuron_keys[columns], excerpts, counts.n_excerpts)
    keys = [best, drawn, *[drawn] * N_BUCKETS]
    bucket = np.full(len(columns), -1)
    if boundaries is not None:
        # Excerpts of the reference are left out: the boundaries were measured on them.
        outside = excerpts >= counts.n_reference
        bucket[outside] = _buckets_of(maxima[outside], boundaries[columns[outside]])
    ranks = np.full((len(keys), len(columns)), UNRANKED, dtype=np.int32)
    ranks[0], ranks[1] = _ranks(columns, best), _ranks(columns, drawn)
    for number in range(N_BUCKETS):
        members = bucket == number
        ranks[2 + number, members] = _ranks(columns[members], drawn[members])
    return ExcerptRanking(keys, ranks, counts.per_kind)


def _maxima(activations: FloatArray) -> FloatArray:
    """Return the maxima (n,) of finite float16 (n, n_tokens), without negative zeros."""
    # As integers: numpy has no fast maximum of float16.
    highest = np.empty(len(activations), dtype=np.int16)
    for start in range(0, len(highest), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        highest[rows] = _sortable(activations[rows].view(np.int16)).max(axis=1)
    # -1 stands for a negative zero.
    return np.asarray(_sortable(np.where(highest == -1, np.int16(0), highest)).view(np.float16))


def _buckets_of(maxima: FloatArray, boundaries: FloatArray) -> IntArray:
    """Return the bucket of each maximum, 0 to 4: how many of its row of boundaries it reaches."""
    return np.asarray((maxima.astype(np.float32)[:, None] >= boundaries).sum(axis=1))


def _ranks(columns: IntArray, keys: IntArray) -> IntArray:
    """Return the rank of each row among those of its column, by key, int32 (n,)."""
    order = np.argsort(keys)  # no two keys of a column are equal
    # A stable sort of uint16 is a radix sort in numpy, several times as fast as one of int64.
    narrow = np.uint16 if len(order) and columns.max() < 2**16 else np.int64
    order = order[np.argsort(columns[order].astype(narrow), kind="stable")]
    ranks = np.empty(len(order), dtype=np.int32)
    ranks[order] = _places(columns[order])
    return ranks


def _places(sorted_columns: IntArray) -> IntArray:
    """Return the place of each row, from 0, among those of its column."""
    rows = np.arange(len(sorted_columns))
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = sorted_columns[1:] != sorted_columns[:-1]
    return np.asarray(rows - np.maximum.accumulate(np.where(is_first, rows, 0)))


@dataclass(frozen=True, slots=True)
class SelectedRecords:
    """The records of one neuron: distinct excerpts with activations, and the rows of each kind.

    `activations` is as in `KeptExcerpts`. `top`, `random` and `bucket_records` list
    rows of it; `buckets` has the bucket, 0 to 4, of each of the bucket records.
    """

    excerpts: list[int]
    activations: FloatArray
    top: list[int]
    random: list[int]
    bucket_records: list[int]
    buckets: list[int]

    def on_each(self) -> list[FloatArray]:
        """Return the activations on each record, float16 (n_tokens,), without padding."""
        lengths = (self.activations != PADDING).sum(axis=1).tolist()
        return [row[:length] for row, length in zip(self.activations, lengths, strict=True)]


def select_records(
    kept: KeptExcerpts, ranking: ExcerptRanking, n_neurons: int
) -> Iterator[SelectedRecords]:
    """Select the records of every neuron of a layer, by column.

    A neuron's excerpts are ordered by rank: top records first, then random and bucket records.
    """
    needed = ranking.needed
    columns = kept.columns[needed]
    chosen = ranking.chosen[:, needed]
    ranks = np.where(chosen, ranking.ranks[:, needed], UNRANKED)
    # `lexsort` takes the last key as the most significant: the neuron, then the ranks of each kind
    # in order.
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
        yield SelectedRecords(
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
    """Return columns and places of the chosen rows, by column and rank."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.lexsort((ranks[rows], columns[rows]))]
    return columns[rows], places[rows]


def _split(columns: IntArray, places: IntArray, n_neurons: int) -> list[list[int]]:
    """Return the places of each column, given rows sorted by column."""
    ends = np.searchsorted(columns, np.arange(n_neurons + 1)).tolist()
    all_places = places.tolist()
    return [all_places[ends[n] : ends[n + 1]] for n in range(n_neurons)]
