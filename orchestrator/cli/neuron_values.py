"""What the command `neuron` shows of a neuron, in the types of JSON and of the terminal."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from db import corpora, datasets
from db.candidates import CandidateRow, CandidateScoreRow, SentenceRow
from db.connections import RelatedNeuronsRow, RelatedTokensRow
from db.evaluations import AblationRow, BaselineScoreRow, CalibratedScoreRow, ScorerResultRow
from db.neuron import StoredNeuron
from db.runs import StoredRun
from orchestrator.cli.terminal.neuron import STATISTICS, ShownRecord, ShownRecords

_KEYS = ("run_id", "layer", "neuron", "baseline", "calibration")


def records_of(
    connection: Connection, run: StoredRun, stored: StoredNeuron, texts: Sequence[str], n: int
) -> ShownRecords:
    """Return a neuron's statistics with its first `n` top records and `n` random ones."""
    origin, row = datasets.origin(connection, run.id), stored.records
    if row is None:
        return ShownRecords(origin, None, [])
    places = [("top", place) for place in row.top_records[:n]]
    places += [("random", place) for place in row.random_records[:n]]
    numbers = [row.excerpts[place] for _, place in places]
    tokens = corpora.excerpts_named(connection, run.corpus_id, numbers)
    activations = row.on([place for _, place in places])
    shown = [
        ShownRecord(kind, number, [texts[token] for token in tokens[number].tolist()], on_record)
        for (kind, _), number, on_record in zip(places, numbers, activations, strict=True)
    ]
    return ShownRecords(origin, row, shown)


def activations_of(shown: ShownRecords) -> dict[str, Any]:
    """Return statistics and records with their activations, in the types of JSON."""
    row = shown.statistics
    statistics = None if row is None else {name: getattr(row, name) for name in STATISTICS}
    records = [
        {
            "kind": record.kind,
            "excerpt": record.excerpt,
            "tokens": record.texts,
            "activations": record.activations.astype(float).tolist(),
        }
        for record in shown.records
    ]
    return {"statistics": statistics, "records": records}


def candidates_of(stored: StoredNeuron) -> dict[str, Any]:
    """Return a neuron's candidates and the sentences they were tried on, in the types of JSON."""
    text = stored.explanation.text if stored.explanation else None
    chosen = next((row.number for row in stored.candidates if row.text == text), None)
    return {
        "candidates": [
            _candidate(row, stored.candidate_scores, is_chosen=row.number == chosen)
            for row in stored.candidates
        ],
        "sentences": [_sentence(row) for row in stored.sentences],
    }


def _candidate(
    row: CandidateRow, scores: Sequence[CandidateScoreRow], *, is_chosen: bool
) -> dict[str, Any]:
    judged = {s.stage: s.score for s in scores if s.number == row.number}
    named = {"number": row.number, "text": row.text, "explainer": row.explainer}
    return {**named, "judged": judged, "is_chosen": is_chosen}


def _sentence(row: SentenceRow) -> dict[str, Any]:
    activations = row.activations
    highest = None if activations is None or not activations.size else float(activations.max())
    named = {key: getattr(row, key) for key in ("text", "is_expected", "for_judging")}
    return {**named, "max_activation": highest}


def evaluations_of(stored: StoredNeuron, texts: Sequence[str]) -> dict[str, Any]:
    """Return a neuron's evaluations and connections in the types of JSON.

    Args:
        stored: The neuron.
        texts: The text of every token of the vocabulary.
    """
    means = stored.token_means.top_means() if stored.token_means else []
    return {
        "baselines": {name: _scores(row) for name, row in stored.baselines.items()},
        "calibrated": {name: _scores(row) for name, row in stored.calibrated.items()},
        "ablation": None if stored.ablation is None else _scores(stored.ablation),
        "scorers": {name: _result(row) for name, row in stored.scorers.items()},
        "mean_activation_tokens": [
            {"token": texts[t], "mean": None if math.isnan(mean) else mean} for t, mean in means
        ],
        "related_neurons": {
            direction: _related_neurons(row) for direction, row in stored.related_neurons.items()
        },
        "related_tokens": {
            direction: _related_tokens(row, texts)
            for direction, row in stored.related_tokens.items()
        },
    }


def _scores(row: BaselineScoreRow | CalibratedScoreRow | AblationRow) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if key not in _KEYS}


def _result(row: ScorerResultRow) -> dict[str, Any]:
    keys = ("score", "auc", "n_positive", "n_negative", "undefined_reason")
    return {key: getattr(row, key) for key in keys}


def _related_neurons(row: RelatedNeuronsRow) -> list[dict[str, Any]]:
    return [
        {"layer": layer, "neuron": neuron, "weight": weight}
        for layer, neuron, weight in zip(row.layers, row.neurons, row.weights, strict=True)
    ]


def _related_tokens(row: RelatedTokensRow, texts: Sequence[str]) -> list[dict[str, Any]]:
    pairs = zip(row.tokens, row.weights, strict=True)
    return [{"token": texts[token], "weight": weight} for token, weight in pairs]
