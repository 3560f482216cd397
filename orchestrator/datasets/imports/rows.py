"""What is stored of a published neuron: rows like those of a run of ours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.neurons.scoring import NeuronScore, score_neuron
from orchestrator.datasets.imports.corpus import ImportedCorpus
from orchestrator.datasets.openai import reader
from worker.stages.scored_records import scored_places

Row = tuple[Any, ...]
Key = tuple[int, bytes]

SAME = 1e-9  # further apart, a published score and ours are not of the same numbers


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """The files about one neuron, as read and checked."""

    layer: int
    neuron: int
    records: reader.PublishedNeuron
    explanation: reader.PublishedExplanation | None
    token_means: reader.Weighted | None
    related_neurons: dict[str, reader.Weighted]
    related_tokens: dict[str, reader.Weighted]


@dataclass(frozen=True, slots=True)
class ImportedRows:
    """Rows by table, in the order of its columns."""

    records: list[Row] = field(default_factory=list)
    explanations: list[Row] = field(default_factory=list)
    simulations: list[Row] = field(default_factory=list)
    scores: list[Row] = field(default_factory=list)
    imported: list[Row] = field(default_factory=list)
    token_means: list[Row] = field(default_factory=list)
    related_neurons: list[Row] = field(default_factory=list)
    related_tokens: list[Row] = field(default_factory=list)


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
    lists = [records.places(files.records.top), records.places(files.records.random)]
    buckets = [records.places(bucket) for bucket in files.records.buckets]
    reason = _undefined_reason(files.records, records)
    if files.explanation is not None:
        spoiled = None if reason == "dead" else reason  # then its numbers still give a score
        _add_explanation(rows, place, config, records, lists, files.explanation, spoiled)
    elif reason is not None:
        rows.scores.append((*place, None, None, None, None, None, reason))
    rows.records.append(
        (
            *place,
            records.excerpts,
            b"".join(records.activations),
            *lists,
            [number for bucket in buckets for number in bucket],
            [number for number, bucket in enumerate(buckets) for _ in bucket],
            files.records.boundaries,
            _highest(files.records),
            *files.records.moments,
            None,
            reason,
        )
    )
    _add_connections(rows, place, corpus, files)


class _Records:
    """The distinct records of one neuron."""

    def __init__(self, corpus: ImportedCorpus) -> None:
        self._corpus = corpus
        self.excerpts: list[int] = []
        self.activations: list[bytes] = []
        self.simulations: dict[int, tuple[bytes, bytes | None, str]] = {}
        self.keys: dict[int, Key] = {}  # what is the same of equal records, by excerpt
        self._found: dict[Key, list[int]] = {}
        self._copies: dict[int, int] = {}

    def places(self, records: Sequence[reader.PublishedRecord]) -> list[int]:
        """Return where records stand, equal ones at one place."""
        return [self._places(record)[0] for record in records]

    def _places(self, record: reader.PublishedRecord) -> list[int]:
        """Return the places of this record, the first of which is made if there is none."""
        key = self._corpus.excerpt(record.tokens, 0), record.activations.tobytes()
        found = self._found.setdefault(key, [])
        if not found:
            self._add(key, record)
        return found

    def _add(self, key: Key, record: reader.PublishedRecord) -> int:
        copy = self._copies.get(key[0], 0)
        self._copies[key[0]] = copy + 1
        place = len(self.excerpts)
        self.excerpts.append(self._corpus.excerpt(record.tokens, copy))
        self.activations.append(key[1])
        self.keys[self.excerpts[place]] = key
        self._found[key].append(place)
        return place

    def simulated(self, sequence: reader.ScoredSequence) -> int:
        """Return the excerpt of a record that is simulated in this way."""
        packed = None if sequence.distribution is None else sequence.distribution.tobytes()
        simulation = sequence.expected.tobytes(), packed, sequence.scale
        places = self._places(sequence.record)
        for place in places:
            excerpt = self.excerpts[place]
            if self.simulations.setdefault(excerpt, simulation) == simulation:
                return excerpt
        key = self._corpus.excerpt(sequence.record.tokens, 0), self.activations[places[0]]
        excerpt = self.excerpts[self._add(key, sequence.record)]
        self.simulations[excerpt] = simulation
        return excerpt


def _undefined_reason(neuron: reader.PublishedNeuron, records: _Records) -> str | None:
    if not np.isfinite(np.frombuffer(b"".join(records.activations), np.float16)).all():
        return "nonfinite_activations"
    return "dead" if _highest(neuron) <= 0 else None


def _highest(neuron: reader.PublishedNeuron) -> float:
    highest = [float(record.activations.max()) for record in neuron.top]
    return max((value for value in highest if np.isfinite(value)), default=0.0)


def _add_explanation(
    rows: ImportedRows,
    place: tuple[int, int, int],
    config: RunConfig,
    records: _Records,
    lists: list[list[int]],
    explanation: reader.PublishedExplanation,
    reason: str | None,
) -> None:
    rows.explanations.append((*place, explanation.text, config.explainer.model, None))
    excerpts = [records.simulated(sequence) for sequence in explanation.sequences]
    for excerpt, (expected, distribution, scale) in records.simulations.items():
        model = config.simulator.model
        rows.simulations.append((*place, excerpt, expected, distribution, scale, model, None))
    places, n_top = scored_places(
        {"top_records": lists[0], "random_records": lists[1]}, config.scoring
    )
    split = [records.excerpts[number] for number in places]
    follows = excerpts == split
    keys = [records.keys[excerpt] for excerpt in excerpts]
    if keys != [records.keys[excerpt] for excerpt in split]:
        tops = {records.keys[records.excerpts[number]] for number in lists[0]}
        n_top = next((i for i, key in enumerate(keys) if key not in tops), len(keys))
    found = _score(explanation, n_top, reason)
    rows.scores.append(
        (
            *place,
            found.score,
            found.score_top,
            found.score_random,
            found.rsquared,
            found.absolute_dev_explained,
            found.undefined_reason,
        )
    )
    order = (None, None) if follows else (excerpts, n_top)
    rows.imported.append((*place, explanation.scores.score, *order))


def _score(explanation: reader.PublishedExplanation, n_top: int, reason: str | None) -> NeuronScore:
    """Return the scores of the stored numbers; the published ones where these give them."""
    stated, sequences = explanation.scores, explanation.sequences
    if reason is not None or not sequences:
        undefined = reason or (None if stated.score is not None else "no_published_score")
        kept = stated if reason is None else reader.PublishedScores(None, None, None)
        return NeuronScore(
            kept.score, None, None, kept.rsquared, kept.absolute_dev_explained, undefined
        )
    true = np.stack([s.record.activations for s in sequences])
    expected = np.stack([s.expected for s in sequences])
    if not (np.isfinite(true).all() and np.isfinite(expected).all()):
        return NeuronScore(None, None, None, None, None, "nonfinite_simulation")
    found = score_neuron(true, expected, n_top)
    if stated.score is None:
        unscored = found.undefined_reason or "no_published_score"
        return NeuronScore(
            None,
            None,
            None,
            _nearest(stated.rsquared, found.rsquared),
            _nearest(stated.absolute_dev_explained, found.absolute_dev_explained),
            unscored,
        )
    return NeuronScore(
        _nearest(stated.score, found.score),
        found.score_top,
        found.score_random,
        _nearest(stated.rsquared, found.rsquared),
        _nearest(stated.absolute_dev_explained, found.absolute_dev_explained),
        found.undefined_reason,
    )


def _nearest(stated: float | None, found: float | None) -> float | None:
    if stated is None or found is None:
        return None
    return stated if abs(stated - found) <= SAME * max(1.0, abs(found)) else found


def _add_connections(
    rows: ImportedRows, place: tuple[int, int, int], corpus: ImportedCorpus, files: PublishedFiles
) -> None:
    for direction, found in files.related_neurons.items():
        named = [reader.neuron_of(name) for name in found.names]
        layers, neurons = [layer for layer, _ in named], [neuron for _, neuron in named]
        rows.related_neurons.append((*place, direction, layers, neurons, found.weights.tolist()))
    for direction, found in files.related_tokens.items():
        tokens = corpus.tokens(found.names)
        rows.related_tokens.append((*place, direction, tokens, found.weights.tolist()))
    if files.token_means is not None:
        rows.token_means.append((*place, *_token_means(corpus, files.token_means)))


def _token_means(corpus: ImportedCorpus, found: reader.Weighted) -> Row:
    """Return tokens, means, counts, top tokens, and the mean over all, which nobody knows."""
    top = corpus.tokens_apart(found.names)
    tokens, first = np.unique(np.array(top, np.int32), return_index=True)
    means = np.asarray(found.weights, np.float32)[first]
    counts = np.zeros(len(tokens), np.int32)
    return tokens.tobytes(), means.tobytes(), counts.tobytes(), top, None


def check_lengths(files: PublishedFiles, excerpt_tokens: int, where: str) -> None:
    """Refuse records of another length than those before: they are stored as one array.

    Raises:
        InputError: A record has another number of tokens.
    """
    for record in _every_record(files):
        if len(record.tokens) != excerpt_tokens:
            raise InputError(
                f"{where}: a record has {len(record.tokens)} tokens, those before have "
                f"{excerpt_tokens}; records of one run are of one length"
            )


def _every_record(files: PublishedFiles) -> Iterator[reader.PublishedRecord]:
    yield from files.records.top
    yield from files.records.random
    for bucket in files.records.buckets:
        yield from bucket
    if files.explanation is not None:
        for sequence in files.explanation.sequences:
            yield sequence.record
