"""All that is known of a neuron as one value, which pages, JSON and the terminal show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from db import datasets, neuron_calls, neuron_evaluations, neuron_place, results, runs
from db.datasets import RunOrigin
from db.neuron import StoredNeuron, load_neuron
from db.neuron_calls import NeuronCall
from db.neuron_place import Percentile, Place
from db.records import NeuronRecordsRow
from db.results import NeuronSummary
from db.runs import StoredRun
from db.shown_records import (
    KINDS,
    ScoredRecord,
    ShownRecord,
    Texts,
    places_of,
    scored_places,
    scored_records,
    shown_records,
)
from neurogloss.neurons.scoring import pooled

STATISTICS = ("max_activation", "mean", "variance", "skewness", "kurtosis")
BARS = 40  # of a histogram
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often activations fall between `edges`, one more than `counts`, on random records."""

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronValue:
    """A neuron of a run. What it lacks is None or empty.

    The first eleven fields are those of the view neuron_summary.

    Attributes:
        run_state: Whether more is to come: the state of the run.
        origin: Where the run has its records from; None where it collected them itself.
        statistics: Of the activations on all tokens of the corpus.
        records: Those that were asked for; `record_counts` has how many there are of each kind.
        scored_records: Those that are furthest from their simulation first.
        score_details: Further scores of the explanation, as in `db.results.ScoreRow`.
        published_score: That of an imported neuron, as it was published.
        quantile_boundaries: Of the maxima of records, between the quantile buckets.
        percentile_in_layer: How the score stands among those of the layer.
        percentile_in_model: How it stands among those of the run.
        control: The scores with the explanation of another neuron of the layer, its `partner`.
        calls: Those that rows of the neuron name.
        notes: What people wrote about it, the earliest first.
    """

    run: str
    layer: int
    neuron: int
    state: str
    reason: str | None
    explanation: str | None
    score: float | None
    score_top: float | None
    score_random: float | None
    max_activation: float | None
    usd: float | None
    run_state: str
    origin: RunOrigin | None
    explainer: str | None
    simulator: str | None
    is_ablated: bool
    statistics: Json | None
    record_counts: dict[str, int]
    records: list[ShownRecord]
    scored_records: list[ScoredRecord]
    score_details: Json | None
    published_score: float | None
    quantile_boundaries: list[float]
    histogram: Histogram | None
    percentile_in_layer: Percentile | None
    percentile_in_model: Percentile | None
    candidates: list[Json]
    sentences: list[Json]
    baselines: Json
    calibrated: Json
    ablation: Json | None
    control: Json | None
    scorers: Json
    mean_activation_tokens: list[Json]
    related_neurons: dict[str, list[Json]]
    related_tokens: dict[str, list[Json]]
    failures: list[Json]
    calls: list[NeuronCall]
    notes: list[Json]
    previous: Place | None
    next: Place | None


def neuron_value(
    connection: Connection, run: StoredRun, layer: int, neuron: int, shown: Mapping[str, int]
) -> NeuronValue | None:
    """Return a neuron with the first so many records of each kind; None if it is not in the run.

    Raises:
        CorruptRowError: Stored bytes are not the array that they should be.
    """
    summary = results.neuron_summary(connection, run.name, layer, neuron)
    if summary is None:
        return None
    stored = load_neuron(connection, run.id, layer, neuron)
    return NeuronValue(
        **asdict(summary),
        run_state=run.state,
        origin=datasets.origin(connection, run.id),
        is_ablated=bool(runs.ablated_in(connection, run.id, layer, neuron, neuron + 1)),
        **_texts_of(connection, run, stored, shown),
        **_scores_of(connection, run, stored, summary),
        **neuron_evaluations.candidates_of(stored),
        failures=[_without_key(row) for row in stored.failures.values()],
        notes=[_without_key(row) for row in stored.notes],
        calls=neuron_calls.calls_of(connection, list(neuron_calls.identities_of(stored))),
        previous=neuron_place.before(connection, run.id, layer, neuron),
        next=neuron_place.after(connection, run.id, layer, neuron),
    )


def _texts_of(
    connection: Connection, run: StoredRun, stored: StoredNeuron, shown: Mapping[str, int]
) -> Json:
    """Return the values of a neuron about records and tokens."""
    row = stored.records
    places = [] if row is None else places_of(row, shown)
    scored = scored_places(run, stored)
    named = [*(place for _, place, _ in places), *(place for _, place in scored)]
    excerpts = [] if row is None else [row.excerpts[place] for place in named]
    texts = Texts(connection, run.corpus_id, excerpts, neuron_evaluations.tokens_of(stored))
    neighbours = neuron_evaluations.related(connection, run.id, stored)
    return {
        "statistics": None if row is None else {key: getattr(row, key) for key in STATISTICS},
        "record_counts": dict.fromkeys(KINDS, 0) if row is None else _counts(row),
        "records": [] if row is None else shown_records(row, places, texts),
        "scored_records": scored_records(stored, scored, texts),
        "quantile_boundaries": [] if row is None else row.quantile_boundaries,
        "histogram": None if row is None else _histogram(row),
        **neuron_evaluations.evaluations_of(stored, texts, neighbours),
    }


def _counts(row: NeuronRecordsRow) -> dict[str, int]:
    return {kind: len(getattr(row, f"{kind}_records")) for kind in KINDS}


def _histogram(row: NeuronRecordsRow) -> Histogram | None:
    drawn = pooled(row.on(row.random_records)).astype(float)
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return None
    # If all values are equal, numpy would make bins around them that mean nothing.
    counts, edges = np.histogram(drawn, bins=BARS if drawn.min() < drawn.max() else 1)
    return Histogram(edges.tolist(), counts.tolist())


def _scores_of(
    connection: Connection, run: StoredRun, stored: StoredNeuron, summary: NeuronSummary
) -> Json:
    """Return the values of a neuron about its score, and the models behind it."""
    score, simulations = summary.score, list(stored.simulations.values())
    details, imported = stored.score, stored.imported
    place = (connection, run.id)
    return {
        "explainer": None if stored.explanation is None else stored.explanation.explainer,
        "simulator": simulations[0].simulator if simulations else None,
        "score_details": None if details is None else _without_key(details),
        "published_score": None if imported is None else imported.published_score,
        "percentile_in_layer": None
        if score is None
        else neuron_place.percentile_in_layer(*place, stored.layer, score),
        "percentile_in_model": None
        if score is None
        else neuron_place.percentile_in_model(*place, score),
    }


def _without_key(row: Any) -> Json:
    key = ("run_id", "layer", "neuron")
    return {name: value for name, value in asdict(row).items() if name not in key}
