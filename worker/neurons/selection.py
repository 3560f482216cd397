"""Which excerpts become a neuron's activation records.

The corpus is split once, by seed: on the reference excerpts the quantile boundaries of a neuron's
maxima are measured, from all others its bucket records are drawn. So the boundaries are exact and
known when a draw is made, and one pass over the text serves every record:

- top: the excerpts of the highest maximum, ties to the lower excerpt;
- random: the first of the neuron's own permutation of all excerpts;
- bucket: of the excerpts outside the reference with their maximum in the bucket, those of the
  lowest priority to the neuron. The first bucket is open below, the last above.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from worker.neurons.records import FloatArray, IntArray
from worker.neurons.sampling import priorities, random_excerpts

QUANTILES = (0.5, 0.9, 0.99, 0.999)
MAX_REFERENCE = 8192


def n_reference(n_excerpts: int) -> int:
    """Return how many excerpts are reference excerpts; they come first in a corpus."""
    return min(n_excerpts // 2, MAX_REFERENCE)


def quantile_boundaries(maxima: FloatArray) -> FloatArray:
    """Return float32 (n_neurons, 4) boundaries of float16 maxima (n_excerpts, n_neurons)."""
    values = np.quantile(maxima.astype(np.float32), QUANTILES, axis=0)
    return np.ascontiguousarray(values.T, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Records:
    """A neuron's records: distinct excerpts with activations, and where each kind stands in them.

    `activations` is float16 (n_records, excerpt_tokens); the other arrays index its rows.
    """

    excerpts: list[int]
    activations: FloatArray
    top: list[int]
    random: list[int]
    bucket_records: list[int]
    buckets: list[int]


def select_records(
    held: Mapping[int, FloatArray],
    *,
    key: int,
    n_excerpts: int,
    boundaries: FloatArray,
    n_top: int,
    n_random: int,
    per_bucket: int,
) -> Records:
    """Choose a neuron's records from the excerpts that the read shards held for it.

    Args:
        held: Activations, float16 (excerpt_tokens,), by excerpt.
        key: The neuron's key.
        n_excerpts: Of the corpus.
        boundaries: Of the neuron, of shape (4,).
        n_top: How many top records, and so on; fewer where there are not enough excerpts.
        n_random: As above.
        per_bucket: As above.

    Raises:
        KeyError: A shard did not hold an excerpt that the neuron drew.
    """
    maxima = {excerpt: float(values.max()) for excerpt, values in held.items()}
    top = sorted(maxima, key=lambda e: (-maxima[e], e))[:n_top]
    drawn = random_excerpts(np.array([key]), n_excerpts, n_random)[0].tolist()
    members = _bucket_members(maxima, key, n_excerpts, boundaries, per_bucket)
    chosen = list(dict.fromkeys([*top, *drawn, *(excerpt for excerpt, _ in members)]))
    place = {excerpt: row for row, excerpt in enumerate(chosen)}
    return Records(
        excerpts=chosen,
        activations=np.stack([held[excerpt] for excerpt in chosen]),
        top=[place[e] for e in top],
        random=[place[e] for e in drawn],
        bucket_records=[place[e] for e, _ in members],
        buckets=[bucket for _, bucket in members],
    )


def _bucket_members(
    maxima: Mapping[int, float], key: int, n_excerpts: int, boundaries: FloatArray, count: int
) -> list[tuple[int, int]]:
    """Return (excerpt, bucket), bucket by bucket, in the order drawn."""
    candidates = np.array([e for e in maxima if e >= n_reference(n_excerpts)], dtype=np.int64)
    if not len(candidates):
        return []
    values = np.array([maxima[e] for e in candidates.tolist()], dtype=np.float32)
    buckets = bucket_of(values, boundaries)
    order: IntArray = priorities(np.array([key]), candidates[:, None])[:, 0]
    ranked = sorted(zip(buckets.tolist(), order.tolist(), candidates.tolist(), strict=True))
    members: list[tuple[int, int]] = []
    for bucket in range(len(QUANTILES) + 1):
        members += [(e, b) for b, _, e in ranked if b == bucket][:count]
    return members


def bucket_of(maxima: FloatArray, boundaries: FloatArray) -> IntArray:
    """Return 0 .. 4 for each maximum: how many boundaries it reaches."""
    return np.asarray((maxima[:, None] >= boundaries[None, :]).sum(axis=1))
