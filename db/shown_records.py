"""Records of a neuron as people read them: with texts, and real beside simulated activations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from db.codec import INT32
from db.corpora import NUL
from db.neuron import StoredNeuron
from db.records import NeuronRecordsRow
from db.results import SimulationRow
from db.runs import StoredRun
from db.tables.corpus import corpus_table, excerpt_table, token_table
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray, IntArray
from neurogloss.neurons.scoring import score_records
from neurogloss.neurons.splits import Split, split_places

KINDS = ("top", "random", "bucket")
OWN_SCALE = "neuron_activations"
"""The `activation_scale` of simulations that are on the scale of the activations themselves."""


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """An activation record: `bucket` is its quantile bucket, if it is a bucket record."""

    kind: str
    excerpt: int
    tokens: list[str]
    activations: list[float]
    document: str = ""
    position: int = 0
    bucket: int | None = None


@dataclass(frozen=True, slots=True)
class ScoredRecord:
    """A record on which the neuron is scored, and its simulation, if there is one.

    Attributes:
        kind: `top`, also where it was drawn at random as well, or `random`.
        simulated: As stored: from 0 to 10, or on the scale of the activations; see `scale`.
        distribution: Of each token, the probabilities of the numbers 0 to 10.
        covered: The mean probability of all numbers together.
        score: The correlation of this record by itself; None where a side is constant.
        error: The mean difference between real and simulated, both from 0 to 10.
        call: From which the simulation was read, or the first of several.
    """

    kind: str
    excerpt: int
    tokens: list[str]
    activations: list[float]
    document: str
    position: int
    simulated: list[float] | None = None
    scale: str | None = None
    distribution: list[list[float]] | None = None
    covered: float | None = None
    score: float | None = None
    error: float | None = None
    call: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Excerpt:
    document: str
    position: int
    tokens: IntArray


class Texts:
    """The texts of the tokens that a page shows, and the excerpts that they are from."""

    def __init__(
        self,
        connection: Connection,
        corpus_id: int,
        excerpts: Iterable[int],
        tokens: Iterable[int] = (),
    ) -> None:
        self._excerpts = _excerpts(connection, corpus_id, set(excerpts))
        wanted = set(tokens).union(*(e.tokens.tolist() for e in self._excerpts.values()))
        self._texts = _texts(connection, corpus_id, wanted)

    def __getitem__(self, token: int) -> str:
        return self._texts[token]

    def of_excerpt(self, excerpt: int) -> dict[str, Any]:
        """Return the fields `document`, `position` and `tokens` of an excerpt."""
        found = self._excerpts[excerpt]
        tokens = [self._texts[token] for token in found.tokens.tolist()]
        return {"document": found.document, "position": found.position, "tokens": tokens}


def _excerpts(connection: Connection, corpus_id: int, numbers: set[int]) -> dict[int, _Excerpt]:
    columns = excerpt_table.c
    query = select(columns.excerpt, columns.document, columns.position, columns.tokens).where(
        columns.corpus_id == corpus_id, columns.excerpt == func.any(sorted(numbers))
    )
    return {
        number: _Excerpt(document, position, INT32.unpack(tokens))
        for number, document, position, tokens in connection.execute(query)
    }


def _texts(connection: Connection, corpus_id: int, tokens: set[int]) -> dict[int, str]:
    # Not the whole vocabulary: it takes longer to read than all else that is known of a neuron.
    vocabulary = select(corpus_table.c.vocabulary_id).where(corpus_table.c.id == corpus_id)
    query = select(token_table.c.token, token_table.c.text).where(
        token_table.c.vocabulary_id == vocabulary.scalar_subquery(),
        token_table.c.token == func.any(sorted(tokens)),
    )
    return {token: text.replace(NUL, "\ufffd") for token, text in connection.execute(query)}


def places_of(row: NeuronRecordsRow, shown: Mapping[str, int]) -> list[tuple[str, int, int | None]]:
    """Return (kind, place, bucket) of the first so many records of each kind.

    Bucket records stand with the highest bucket first.
    """
    buckets = sorted(zip(row.buckets, row.bucket_records, strict=True), key=lambda b: -b[0])
    return [
        *(("top", place, None) for place in row.top_records[: shown.get("top", 0)]),
        *(("random", place, None) for place in row.random_records[: shown.get("random", 0)]),
        *(("bucket", place, bucket) for bucket, place in buckets[: shown.get("bucket", 0)]),
    ]


def shown_records(
    row: NeuronRecordsRow, places: Sequence[tuple[str, int, int | None]], texts: Texts
) -> list[ShownRecord]:
    """Return the records at `places` of a neuron."""
    activations = row.on([place for _, place, _ in places])
    return [
        ShownRecord(
            kind=kind,
            excerpt=row.excerpts[place],
            activations=on_record.astype(float).tolist(),
            bucket=bucket,
            **texts.of_excerpt(row.excerpts[place]),
        )
        for (kind, place, bucket), on_record in zip(places, activations, strict=True)
    ]


def scored_places(run: StoredRun, stored: StoredNeuron) -> list[tuple[str, int]]:
    """Return (kind, place) of the records that a neuron is scored on, each of them once."""
    row = stored.records
    if row is None:
        return []
    imported = stored.imported
    if imported is not None and imported.scored_excerpts is not None:
        places = [row.excerpts.index(excerpt) for excerpt in imported.scored_excerpts]
        n_top = imported.n_top or 0
    else:
        scoring = run.config["scoring"]
        lists = row.top_records, row.random_records
        places, n_top = split_places(*lists, Split.VALID, scoring["top"], scoring["random"])
    kinds = {place: "random" for place in places[n_top:]} | dict.fromkeys(places[:n_top], "top")
    return [(kind, place) for place, kind in kinds.items()]


def scored_records(
    stored: StoredNeuron, places: Sequence[tuple[str, int]], texts: Texts
) -> list[ScoredRecord]:
    """Return the scored records, those first that are furthest from what was simulated."""
    row = stored.records
    if row is None:
        return []
    activations = row.on([place for _, place in places])
    found = [
        _scored(kind, row, place, true, stored.simulations.get(row.excerpts[place]), texts)
        for (kind, place), true in zip(places, activations, strict=True)
    ]
    return sorted(found, key=lambda record: (record.error is None, -(record.error or 0.0)))


def _scored(
    kind: str,
    row: NeuronRecordsRow,
    place: int,
    true: FloatArray,
    simulation: SimulationRow | None,
    texts: Texts,
) -> ScoredRecord:
    fields = {
        "kind": kind,
        "excerpt": row.excerpts[place],
        "activations": true.astype(float).tolist(),
        **texts.of_excerpt(row.excerpts[place]),
    }
    if simulation is None:
        return ScoredRecord(**fields)
    expected, distribution = simulation.expected_activations, simulation.distribution
    # Activations of a failed neuron may be NaN or infinite; the score is then undefined.
    with np.errstate(invalid="ignore", over="ignore"):
        (score,) = score_records([true], [expected])
        error = _error(true, expected, simulation.activation_scale, row.max_activation)
    return ScoredRecord(
        **fields,
        simulated=expected.astype(float).tolist(),
        scale=simulation.activation_scale,
        distribution=None if distribution is None else _probabilities(distribution),
        covered=simulation.covered,
        score=score.score,
        error=error,
        call=simulation.call,
    )


def _probabilities(distribution: FloatArray) -> list[list[float]]:
    """Return the probabilities among the numbers, which are stored without their sum being 1."""
    sums = distribution.astype(float).sum(axis=1, keepdims=True)
    shares = np.divide(distribution, sums, out=np.zeros(distribution.shape), where=sums > 0)
    rounded: list[list[float]] = shares.round(4).tolist()
    return rounded


def _error(
    true: FloatArray, expected: FloatArray, scale: str, max_activation: float
) -> float | None:
    real = to_levels(true, max_activation)
    simulated = simulated_levels(expected, scale, max_activation)
    difference = float(np.abs(real - simulated).mean()) if len(true) else np.nan
    return difference if np.isfinite(difference) else None


def to_levels(activations: FloatArray, max_activation: float) -> FloatArray:
    """Return activations on the scale from 0 to 10 of the neuron, without rounding."""
    if max_activation <= 0:
        return np.zeros(len(activations))
    scaled = activations.astype(float) * (MAX_NORMALIZED / max_activation)
    levels: FloatArray = np.clip(scaled, 0, MAX_NORMALIZED)
    return levels


def simulated_levels(expected: FloatArray, scale: str, max_activation: float) -> FloatArray:
    """Return simulated activations on the same scale."""
    if scale == OWN_SCALE:
        return to_levels(expected, max_activation)
    levels: FloatArray = np.clip(expected.astype(float), 0, MAX_NORMALIZED)
    return levels
