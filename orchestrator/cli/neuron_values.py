"""What the command `neuron` shows of a neuron, read from the database."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection

from db import candidates, connections, datasets, evaluations, records, results, runs
from orchestrator.cli.terminal.neuron import ShownRecord, ShownRecords

Row = Mapping[Any, Any]  # what SQLAlchemy's RowMapping is to its reader

_KEYS = ("run_id", "layer", "neuron", "baseline", "calibration")


def records_of(
    connection: Connection, run_id: int, layer: int, neuron: int, n: int
) -> ShownRecords:
    """Return a neuron's statistics with its first `n` top records and `n` random ones."""
    origin = datasets.origin(connection, run_id)
    rows = records.load(connection, run_id, layer, neuron, neuron + 1)
    if not rows:
        return ShownRecords(origin, None, [])
    row = rows[0]
    activations = np.frombuffer(row["activations"], np.float16).reshape(len(row["excerpts"]), -1)
    places = [("top", place) for place in row["top_records"][:n]]
    places += [("random", place) for place in row["random_records"][:n]]
    corpus = runs.corpus(connection, runs.get(connection, run_id)["corpus_id"])
    texts = runs.token_texts(connection, corpus["vocabulary_id"])
    numbers = [row["excerpts"][place] for _, place in places]
    tokens = {
        number: np.frombuffer(stored, np.int32).tolist()
        for number, stored in runs.excerpts_named(connection, corpus["id"], numbers).items()
    }
    shown = [
        ShownRecord(
            kind,
            [texts[token] for token in tokens[row["excerpts"][place]]],
            activations[place],
        )
        for kind, place in places
    ]
    return ShownRecords(origin, row, shown)


def candidates_of(connection: Connection, run_id: int, layer: int, neuron: int) -> dict[str, Any]:
    """Return a neuron's candidates and the sentences they were tried on, in the types of JSON."""
    place = (run_id, layer, neuron, neuron + 1)
    explanation = results.explanations(connection, *place).get(neuron)
    scores = candidates.candidate_scores(connection, *place)
    rows = candidates.candidates(connection, *place)
    chosen = next((row["number"] for row in rows if row["text"] == explanation), None)
    return {
        "candidates": [_candidate(row, scores, is_chosen=row["number"] == chosen) for row in rows],
        "sentences": [_sentence(row) for row in candidates.sentences(connection, *place)],
    }


def _candidate(row: Row, scores: Sequence[Row], *, is_chosen: bool) -> dict[str, Any]:
    judged = {s["stage"]: s["score"] for s in scores if s["number"] == row["number"]}
    named = {key: row[key] for key in ("number", "text", "explainer")}
    return {**named, "judged": judged, "is_chosen": is_chosen}


def _sentence(row: Row) -> dict[str, Any]:
    values = np.frombuffer(row["activations"] or b"", np.float16)
    named = {key: row[key] for key in ("text", "is_expected", "for_judging")}
    return {**named, "max_activation": float(values.max()) if values.size else None}


def evaluations_of(connection: Connection, run_id: int, layer: int, neuron: int) -> dict[str, Any]:
    """Return a neuron's baselines, calibrations, scorers and connections, in the types of JSON."""
    corpus = runs.corpus(connection, runs.get(connection, run_id)["corpus_id"])
    texts = runs.token_texts(connection, corpus["vocabulary_id"])
    place = (run_id, layer, neuron)
    baselines = evaluations.baseline_scores(connection, *place)
    scorers = evaluations.scorer_results(connection, *place, neuron + 1)
    calibrated = evaluations.calibrated_scores(connection, *place, neuron + 1)
    ablations = evaluations.ablations(connection, *place, neuron + 1)
    neurons = connections.related_neurons(connection, *place)
    tokens = connections.related_tokens(connection, *place)
    return {
        "baselines": {name: _scores(row) for name, row in baselines.items()},
        "calibrated": {row["calibration"]: _scores(row) for row in calibrated},
        "ablation": next((_scores(row) for row in ablations), None),
        "scorers": {row["scorer"]: _result(row) for row in scorers},
        "mean_activation_tokens": _mean_tokens(connection, *place, texts),
        "related_neurons": {name: _related_neurons(row) for name, row in neurons.items()},
        "related_tokens": {name: _related_tokens(row, texts) for name, row in tokens.items()},
    }


def _scores(row: Row) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _KEYS}


def _result(row: Row) -> dict[str, Any]:
    keys = ("score", "auc", "n_positive", "n_negative", "undefined_reason")
    return {key: row[key] for key in keys}


def _mean_tokens(
    connection: Connection, run_id: int, layer: int, neuron: int, texts: Sequence[str]
) -> list[dict[str, Any]]:
    tokens = []
    for row in records.token_means(connection, run_id, layer, neuron, neuron + 1):
        stored = np.frombuffer(row["tokens"], np.int32), np.frombuffer(row["means"], np.float32)
        means = dict(zip(*(column.tolist() for column in stored), strict=True))
        tokens += [{"token": texts[token], "mean": means[token]} for token in row["top_tokens"]]
    return tokens


def _related_neurons(row: Row) -> list[dict[str, Any]]:
    columns = (row["layers"], row["neurons"], row["weights"])
    return [
        {"layer": layer, "neuron": neuron, "weight": weight}
        for layer, neuron, weight in zip(*columns, strict=True)
    ]


def _related_tokens(row: Row, texts: Sequence[str]) -> list[dict[str, Any]]:
    pairs = zip(row["tokens"], row["weights"], strict=True)
    return [{"token": texts[token], "weight": weight} for token, weight in pairs]
