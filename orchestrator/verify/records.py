"""Check the records of a neuron for consistency and against the rules of their selection."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from db.corpora import StoredCorpus
from db.records import NeuronRecordsRow, stored_lengths
from neurogloss.config.run import RunConfig
from neurogloss.neurons.records import IntArray
from neurogloss.neurons.sampling import neuron_keys
from neurogloss.neurons.selection import N_BUCKETS, RecordCounts, draw_keys, top_keys

# Relative tolerance of inequalities between moments, which are sums of rounded numbers.
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules by which the records of a run were selected.

    `lengths` has the number of tokens of each excerpt, int32 (n_excerpts,). `is_collected` is False
    for records that were imported or copied: their rules are unknown.
    """

    counts: RecordCounts
    lengths: IntArray
    seed: int
    is_collected: bool

    @classmethod
    def of(
        cls, config: RunConfig, corpus: StoredCorpus, lengths: IntArray, *, is_collected: bool
    ) -> "Rules":
        """Return the rules of a configuration on a corpus."""
        records = config.records
        counts = RecordCounts(corpus.n_excerpts, records.top, records.random, records.per_quantile)
        return cls(counts, lengths, config.corpus.seed, is_collected)


def records_faults(row: NeuronRecordsRow, rules: Rules) -> Iterator[str]:
    """Yield the faults of the records of a neuron."""
    n_records = len(row.excerpts)
    if outside := [e for e in row.excerpts if not 0 <= e < len(rules.lengths)]:
        yield f"excerpt {outside[0]} is not in the corpus"
        return
    lengths: list[int] = rules.lengths[row.excerpts].tolist()
    if row.activations.size != sum(lengths):
        needed = f"{n_records} records need {sum(lengths)}"
        yield f"there are {row.activations.size} activations, {needed}"
        return
    if row.record_tokens != stored_lengths(lengths):
        yield f"its records are of {row.record_tokens} tokens, by its excerpts of {lengths}"
        return
    if len(set(row.excerpts)) < n_records:
        yield "an excerpt has two records"
    lists = (row.top_records, row.random_records, row.bucket_records)
    named = [place for places in lists for place in places]
    if any(not 0 <= place < n_records for place in named):
        yield f"a list names a record that is not among its {n_records}"
        return
    if rules.is_collected:
        if set(named) != set(range(n_records)):
            yield "a record is in no list"
        yield from _choice_faults(_Chosen(row, rules))
        yield from _moment_faults(row, rules)


class _Chosen:
    """The records of a neuron with the keys by which they were ranked.

    All arrays are (n_records,): `maxima` float16, `top` and `drawn` int64 keys, lowest first.
    """

    def __init__(self, row: NeuronRecordsRow, rules: Rules) -> None:
        self.row, self.rules = row, rules
        self.excerpts: IntArray = np.array(row.excerpts, dtype=np.int64)
        self.finite = bool(np.isfinite(row.activations).all())
        # Adding 0 turns -0 into 0, whose bits are in the order of the values.
        highest = [record.max(initial=-np.inf) for record in row.on_all()]
        self.maxima = np.array(highest, np.float16) + np.float16(0)
        bits = self.maxima.view(np.int16).astype(np.int64)
        self.top: IntArray = top_keys(bits, self.excerpts)
        key = neuron_keys(rules.seed, row.layer, np.array([row.neuron]))
        self.drawn: IntArray = draw_keys(key, self.excerpts, rules.counts.n_excerpts)
        self._key = key

    def drawn_up_to(self, last: int) -> int:
        """Return how many excerpts of the corpus the seed draws up to a key, with this one."""
        n_excerpts = self.rules.counts.n_excerpts
        keys = draw_keys(self._key, _all_excerpts(n_excerpts), n_excerpts)
        return int((keys <= last).sum())


@lru_cache(maxsize=1)
def _all_excerpts(n_excerpts: int) -> IntArray:
    return np.arange(n_excerpts, dtype=np.int64)


def _choice_faults(chosen: _Chosen) -> Iterator[str]:
    row, counts = chosen.row, chosen.rules.counts
    if not chosen.finite:
        yield "an activation is not finite"
        return
    n_top = min(counts.top, counts.n_excerpts)
    n_random = min(counts.random, counts.n_excerpts)
    yield from _list_faults("top", row.top_records, n_top, chosen.top)
    yield from _list_faults("random", row.random_records, n_random, chosen.drawn)
    # Without activations: which excerpts are drawn follows from the seed alone.
    places = row.random_records
    if places and chosen.drawn_up_to(chosen.drawn[places].max()) != len(set(places)):
        yield "the random records are not those that the seed draws"
    if row.top_records:
        highest = float(chosen.maxima[row.top_records[0]])
        if row.max_activation != highest:
            yield f"max_activation is {row.max_activation}, by its records {highest}"
        if float(chosen.maxima.max()) > highest:
            yield "a record is higher than the first top record"
    # The reference excerpts gave the quantile boundaries, so other records are drawn outside it.
    outside = chosen.excerpts[row.random_records] >= counts.n_reference
    if counts.draws_outside and not outside.all():
        yield "a random record is from the reference"
    yield from _bucket_faults(chosen)


def _list_faults(name: str, places: Sequence[int], n: int, keys: IntArray) -> Iterator[str]:
    if len(places) != n:
        yield f"there are {len(places)} {name} records, not {n}"
    if not _rises(keys[list(places)]):
        yield f"the {name} records are not in order"


def _rises(keys: IntArray) -> bool:
    return bool((np.diff(keys) > 0).all())


def _bucket_faults(chosen: _Chosen) -> Iterator[str]:
    row, counts = chosen.row, chosen.rules.counts
    places, buckets = list(row.bucket_records), np.array(row.buckets, dtype=np.int64)
    boundaries = np.array(row.quantile_boundaries, dtype=np.float32)
    if len(places) != len(buckets):
        yield f"{len(places)} bucket records have {len(buckets)} buckets"
        return
    if len(boundaries) != N_BUCKETS - 1 or any(a > b for a, b in pairwise(boundaries)):
        yield f"quantile_boundaries are not {N_BUCKETS - 1} rising numbers"
        return
    right = (chosen.maxima[places].astype(np.float32)[:, None] >= boundaries).sum(axis=1)
    for place, stored, computed in zip(places, buckets.tolist(), right.tolist(), strict=True):
        if stored != computed:
            yield f"record {place} is in bucket {stored}, by its maximum in {computed}"
    if (chosen.excerpts[places] < counts.n_reference).any():
        yield "a bucket record is from the reference"
    # Sorted by bucket, and by place within one: 40 bits hold any place.
    if not _rises((buckets << 40) + np.arange(len(places))):
        yield "the buckets are not in order"
        return
    for bucket in np.unique(buckets).tolist():
        members = np.array(places)[buckets == bucket]
        if len(members) > counts.per_bucket:
            yield f"bucket {bucket} has {len(members)} records, not at most {counts.per_bucket}"
        if not _rises(chosen.drawn[members]):
            yield f"the records of bucket {bucket} are not in order"


def _moment_faults(row: NeuronRecordsRow, rules: Rules) -> Iterator[str]:
    """Yield moments that violate inequalities.

    They cannot be recomputed, since they are over the whole corpus, of which few records are kept.
    """
    n, expected = row.n_tokens, int(rules.lengths.sum())
    if n != expected:
        yield f"n_tokens is {n}, the corpus has {expected}"
    mean, variance, highest = row.mean, row.variance, row.max_activation
    skewness, kurtosis = row.skewness, row.kurtosis
    if row.undefined_reason == "nonfinite_activations":
        return
    right_reason = "dead" if highest <= 0 else None
    if row.undefined_reason != right_reason:
        yield f"undefined_reason is {row.undefined_reason}, by its records {right_reason}"
    if n is None or mean is None or variance is None or variance < 0:
        yield f"mean {mean} and variance {variance} are not valid moments"
        return
    slack = _TOLERANCE * (1 + abs(highest))
    if mean > highest + slack:
        yield f"mean {mean} is above max_activation {highest}"
    # Samuelson's inequality: no value is further from the mean than sqrt(n - 1) deviations.
    if (highest - mean) ** 2 > variance * max(0, n - 1) * (1 + _TOLERANCE) + slack:
        yield f"max_activation {highest} is too far from mean {mean} for variance {variance}"
    if variance > 0 and skewness is not None and kurtosis is not None:
        if kurtosis < (skewness**2 + 1) * (1 - _TOLERANCE) - _TOLERANCE:  # Pearson's inequality
            yield f"kurtosis {kurtosis} is too small for skewness {skewness}"
    elif variance == 0 and (skewness, kurtosis) != (None, None):
        yield "skewness and kurtosis are given, but variance is 0"
