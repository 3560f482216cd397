"""Convert the files about a published neuron to the rows that a run of this program has."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field

import numpy as np

from db.connections import RelatedNeuronsRow, RelatedTokensRow
from db.imported_neurons import ImportedNeuronRow
from db.records import NeuronRecordsRow, TokenMeansRow, joined_records
from db.results import ExplanationRow, ScoreRow, SimulationRow
from neurogloss.config.run import RunConfig
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.scoring import NeuronScore, score_neuron, score_records, unscored
from neurogloss.neurons.splits import Split, split_places
from orchestrator.datasets.imports.corpus import ImportedCorpus
from orchestrator.datasets.openai import reader, related_reader

Place = tuple[int, int, int]  # run, layer, neuron
Key = tuple[int, bytes]

# Relative tolerance between a published score and the one computed from the published numbers.
# float64 sums in another order differ by less; a larger difference means other numbers.
SAME = 1e-9


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """The content of the files about one neuron, checked."""

    layer: int
    neuron: int
    records: reader.PublishedNeuron
    explanation: reader.PublishedExplanation | None
    token_means: related_reader.Weighted | None
    related_neurons: dict[str, related_reader.Weighted]
    related_tokens: dict[str, related_reader.Weighted]


@dataclass(frozen=True, slots=True)
class ImportedRows:
    """Rows of neurons, by the kinds of `db.datasets.STORED`."""

    records: list[NeuronRecordsRow] = field(default_factory=list)
    explanations: list[ExplanationRow] = field(default_factory=list)
    simulations: list[SimulationRow] = field(default_factory=list)
    scores: list[ScoreRow] = field(default_factory=list)
    imported: list[ImportedNeuronRow] = field(default_factory=list)
    token_means: list[TokenMeansRow] = field(default_factory=list)
    related_neurons: list[RelatedNeuronsRow] = field(default_factory=list)
    related_tokens: list[RelatedTokensRow] = field(default_factory=list)


def add_rows(
    rows: ImportedRows,
    run_id: int,
    config: RunConfig,
    corpus: ImportedCorpus,
    files: PublishedFiles,
) -> None:
    """Add the rows of one neuron."""
    place = (run_id, files.layer, files.neuron)
    records = _Records(corpus)
    top, random = records.places(files.records.top), records.places(files.records.random)
    buckets = [records.places(bucket) for bucket in files.records.buckets]
    reason = _undefined_reason(files.records, records)
    if files.explanation is not None:
        # The numbers of a dead neuron are finite, so they are scored like any other's.
        spoiled = None if reason == "dead" else reason
        lists = (top, random)
        _add_explanation(rows, place, config, records, lists, files.explanation, spoiled)
    elif reason is not None:
        rows.scores.append(ScoreRow(*place, *astuple(unscored(reason))))
    mean, variance, skewness, kurtosis = files.records.moments
    rows.records.append(
        NeuronRecordsRow(
            run_id=run_id,
            layer=files.layer,
            neuron=files.neuron,
            excerpts=records.excerpts,
            **joined_records(records.activations),
            top_records=top,
            random_records=random,
            bucket_records=[number for bucket in buckets for number in bucket],
            buckets=[number for number, bucket in enumerate(buckets) for _ in bucket],
            quantile_boundaries=files.records.boundaries,
            max_activation=_highest(files.records),
            mean=mean,
            variance=variance,
            skewness=skewness,
            kurtosis=kurtosis,
            n_tokens=None,
            undefined_reason=reason,
        )
    )
    _add_connections(rows, place, corpus, files)


class _Records:
    """The distinct records of one neuron; a place is an index into `excerpts`."""

    def __init__(self, corpus: ImportedCorpus) -> None:
        self._corpus = corpus
        self.excerpts: list[int] = []
        self.activations: list[FloatArray] = []
        self.simulations: dict[int, reader.ScoredSequence] = {}
        self.keys: dict[int, Key] = {}  # by excerpt; equal records have equal keys
        self._places_of: dict[Key, list[int]] = {}
        self._copies: dict[int, int] = {}

    def places(self, records: Sequence[reader.PublishedRecord]) -> list[int]:
        """Return the place of each record; equal records have the same place."""
        return [self._places(record)[0] for record in records]

    def _places(self, record: reader.PublishedRecord) -> list[int]:
        """Return all places of this record, after adding it if it has none."""
        key = self._corpus.excerpt(record.tokens, 0), record.activations.tobytes()
        places = self._places_of.setdefault(key, [])
        if not places:
            self._add(key, record)
        return places

    def _add(self, key: Key, record: reader.PublishedRecord) -> int:
        copy = self._copies.get(key[0], 0)
        self._copies[key[0]] = copy + 1
        place = len(self.excerpts)
        self.excerpts.append(self._corpus.excerpt(record.tokens, copy))
        self.activations.append(record.activations)
        self.keys[self.excerpts[place]] = key
        self._places_of[key].append(place)
        return place

    def simulated(self, sequence: reader.ScoredSequence) -> int:
        """Store a simulation of a record; return the excerpt under which it is stored.

        A record that is simulated twice with different results becomes two excerpts, since an
        excerpt of a neuron has one simulation.
        """
        places = self._places(sequence.record)
        for place in places:
            excerpt = self.excerpts[place]
            if self.simulations.setdefault(excerpt, sequence).is_like(sequence):
                return excerpt
        key = self.keys[self.excerpts[places[0]]]
        excerpt = self.excerpts[self._add(key, sequence.record)]
        self.simulations[excerpt] = sequence
        return excerpt


def _undefined_reason(neuron: reader.PublishedNeuron, records: _Records) -> str | None:
    if not all(np.isfinite(activations).all() for activations in records.activations):
        return "nonfinite_activations"
    return "dead" if _highest(neuron) <= 0 else None


def _highest(neuron: reader.PublishedNeuron) -> float:
    # The top records hold the highest activation by definition.
    highest = [float(record.activations.max()) for record in neuron.top]
    return max((value for value in highest if np.isfinite(value)), default=0.0)


def _add_explanation(
    rows: ImportedRows,
    place: Place,
    config: RunConfig,
    records: _Records,
    lists: tuple[list[int], list[int]],
    explanation: reader.PublishedExplanation,
    reason: str | None,
) -> None:
    rows.explanations.append(ExplanationRow(*place, explanation.text, config.explainer.model))
    excerpts = [records.simulated(sequence) for sequence in explanation.sequences]
    for excerpt, sequence in records.simulations.items():
        rows.simulations.append(_simulation_row(place, excerpt, sequence, config.simulator.model))
    places, n_top = split_places(*lists, Split.VALID, config.scoring.top, config.scoring.random)
    # The published records are stored in their order only if it is not that of our own split.
    split = [records.excerpts[number] for number in places]
    follows = excerpts == split
    keys = [records.keys[excerpt] for excerpt in excerpts]
    if keys != [records.keys[excerpt] for excerpt in split]:
        tops = {records.keys[records.excerpts[number]] for number in lists[0]}
        n_top = next((i for i, key in enumerate(keys) if key not in tops), len(keys))
    score = _score(explanation, n_top, reason)
    rows.scores.append(ScoreRow(*place, *astuple(score)))
    order = None if follows else excerpts
    published = _published_scores(explanation, score)
    rows.imported.append(
        ImportedNeuronRow(
            *place, explanation.scores.score, order, None if follows else n_top, published
        )
    )


def _published_scores(
    explanation: reader.PublishedExplanation, score: NeuronScore
) -> FloatArray | None:
    """Return the published scores of the explanation and of its simulations, float64 (n, 3).

    None where they are the stored score, and what an export computes of each simulation.
    """
    sequences = explanation.sequences
    published = [explanation.scores, *(sequence.scores for sequence in sequences)]
    # Published numbers may be NaN, which is a score like any other in the comparison below.
    with np.errstate(invalid="ignore", over="ignore"):
        true = [sequence.record.activations for sequence in sequences]
        of_each = score_records(true, [sequence.expected for sequence in sequences])
    stated, computed = (
        np.array(
            [(s.score, s.rsquared, s.absolute_dev_explained) for s in scores], dtype=np.float64
        )
        for scores in (published, [score, *of_each])
    )
    return None if np.array_equal(stated, computed, equal_nan=True) else stated


def _simulation_row(
    place: Place, excerpt: int, sequence: reader.ScoredSequence, simulator: str
) -> SimulationRow:
    expected, distribution = sequence.expected, sequence.distribution
    return SimulationRow(*place, excerpt, expected, distribution, sequence.scale, simulator)


def _score(explanation: reader.PublishedExplanation, n_top: int, reason: str | None) -> NeuronScore:
    """Return the scores computed from the stored numbers.

    A published score replaces the computed one if both agree within `SAME`, so that an export
    writes the published bits again.
    """
    stated, sequences = explanation.scores, explanation.sequences
    if reason is not None or not sequences:
        undefined = reason or (None if stated.score is not None else "no_published_score")
        kept = stated if reason is None else reader.PublishedScores(None, None, None)
        return NeuronScore(
            kept.score, None, None, kept.rsquared, kept.absolute_dev_explained, undefined
        )
    true = [s.record.activations for s in sequences]
    expected = [s.expected for s in sequences]
    if not all(np.isfinite(values).all() for values in (*true, *expected)):
        return NeuronScore(None, None, None, None, None, "nonfinite_simulation")
    computed = score_neuron(true, expected, n_top)
    if stated.score is None:
        unscored = computed.undefined_reason or "no_published_score"
        return NeuronScore(
            None,
            None,
            None,
            _nearest(stated.rsquared, computed.rsquared),
            _nearest(stated.absolute_dev_explained, computed.absolute_dev_explained),
            unscored,
        )
    return NeuronScore(
        _nearest(stated.score, computed.score),
        computed.score_top,
        computed.score_random,
        _nearest(stated.rsquared, computed.rsquared),
        _nearest(stated.absolute_dev_explained, computed.absolute_dev_explained),
        computed.undefined_reason,
    )


def _nearest(stated: float | None, computed: float | None) -> float | None:
    if stated is None or computed is None:
        return None
    return stated if abs(stated - computed) <= SAME * max(1.0, abs(computed)) else computed


def _add_connections(
    rows: ImportedRows, place: Place, corpus: ImportedCorpus, files: PublishedFiles
) -> None:
    for direction, related in files.related_neurons.items():
        named = [related_reader.neuron_of(name) for name in related.names]
        layers, neurons = [layer for layer, _ in named], [neuron for _, neuron in named]
        rows.related_neurons.append(
            RelatedNeuronsRow(*place, direction, layers, neurons, related.weights.tolist())
        )
    for direction, related in files.related_tokens.items():
        tokens = corpus.tokens(related.names)
        rows.related_tokens.append(
            RelatedTokensRow(*place, direction, tokens, related.weights.tolist())
        )
    if files.token_means is not None:
        rows.token_means.append(_token_means(place, corpus, files.token_means))


def _token_means(
    place: Place, corpus: ImportedCorpus, means: related_reader.Weighted
) -> TokenMeansRow:
    run_id, layer, neuron = place
    top = corpus.tokens_apart(means.names)
    tokens, first = np.unique(np.array(top, np.int32), return_index=True)
    return TokenMeansRow(
        run_id=run_id,
        layer=layer,
        neuron=neuron,
        tokens=tokens,
        means=np.asarray(means.weights, np.float32)[first],
        counts=np.zeros(len(tokens), np.int32),
        top_tokens=top,
        default_mean=None,  # the mean over all tokens is not published
    )
