"""The evaluations of a neuron in the types of JSON: candidates, scores, weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, text

from db.candidates import CandidateRow, CandidateScoreRow, SentenceRow
from db.connections import RelatedNeuronsRow, RelatedTokensRow
from db.control_scores import ControlScoreRow
from db.evaluations import AblationRow, BaselineScoreRow, CalibratedScoreRow, ScorerResultRow
from db.neuron import StoredNeuron

_KEYS = ("run_id", "layer", "neuron", "baseline", "calibration")
Json = dict[str, Any]


class TokenTexts(Protocol):
    """The text of each token that a neuron names."""

    def __getitem__(self, token: int, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation of another neuron, and its score."""

    explanation: str | None
    score: float | None


Neighbours = Mapping[tuple[int, int], Explained]
"""What is known of related neurons, by (layer, neuron)."""

_EXPLAINED = text("""
    SELECT layer, neuron, explanation.text, score.score
    FROM unnest(CAST(:layers AS smallint[]), CAST(:neurons AS int[])) AS named (layer, neuron)
    JOIN neuron USING (layer, neuron)
    LEFT JOIN explanation USING (run_id, layer, neuron)
    LEFT JOIN score USING (run_id, layer, neuron)
    WHERE neuron.run_id = :run
""")


def related(connection: Connection, run_id: int, stored: StoredNeuron) -> Neighbours:
    """Return what the run knows of the neurons that a neuron's weights connect it to."""
    pairs = {
        pair
        for row in stored.related_neurons.values()
        for pair in zip(row.layers, row.neurons, strict=True)
    }
    values = {"layers": [layer for layer, _ in pairs], "neurons": [n for _, n in pairs]}
    rows = connection.execute(_EXPLAINED, {"run": run_id, **values})
    return {(layer, n): Explained(explanation, score) for layer, n, explanation, score in rows}


def tokens_of(stored: StoredNeuron) -> Iterator[int]:
    """Yield the tokens that `evaluations_of` names."""
    if stored.token_means is not None:
        yield from stored.token_means.top_tokens
    for row in stored.related_tokens.values():
        yield from row.tokens


def candidates_of(stored: StoredNeuron) -> Json:
    """Return a neuron's candidates and the sentences they were tried on."""
    chosen_text = stored.explanation.text if stored.explanation else None
    # The choice is not stored: it is the candidate whose text is the explanation, of equal ones the
    # first.
    chosen = next((row.number for row in stored.candidates if row.text == chosen_text), None)
    return {
        "candidates": [
            _candidate(row, stored.candidate_scores, is_chosen=row.number == chosen)
            for row in stored.candidates
        ],
        "sentences": [_sentence(row) for row in stored.sentences],
    }


def _candidate(row: CandidateRow, scores: Sequence[CandidateScoreRow], *, is_chosen: bool) -> Json:
    judged = {s.stage: s.score for s in scores if s.number == row.number}
    named = {"number": row.number, "text": row.text, "explainer": row.explainer}
    return {**named, "judged": judged, "is_chosen": is_chosen}


def _sentence(row: SentenceRow) -> Json:
    activations = row.activations
    highest = None if activations is None or not activations.size else float(activations.max())
    named = {key: getattr(row, key) for key in ("text", "is_expected", "for_judging")}
    return {**named, "max_activation": highest}


def evaluations_of(
    stored: StoredNeuron, texts: TokenTexts, neighbours: Neighbours | None = None
) -> Json:
    """Return a neuron's evaluations and connections.

    Args:
        stored: The neuron.
        texts: The texts of the tokens that `tokens_of` yields.
        neighbours: What is known of the neurons that it is connected to.
    """
    means = stored.token_means.top_means() if stored.token_means else []
    return {
        "baselines": {name: _scores(row) for name, row in stored.baselines.items()},
        "calibrated": {name: _scores(row) for name, row in stored.calibrated.items()},
        "ablation": None if stored.ablation is None else _scores(stored.ablation),
        "control": None if stored.control is None else _scores(stored.control),
        "scorers": {name: _result(row) for name, row in stored.scorers.items()},
        "mean_activation_tokens": [
            {"token": texts[t], "mean": None if math.isnan(mean) else mean} for t, mean in means
        ],
        "related_neurons": {
            direction: list(_related_neurons(row, neighbours or {}))
            for direction, row in stored.related_neurons.items()
        },
        "related_tokens": {
            direction: _related_tokens(row, texts)
            for direction, row in stored.related_tokens.items()
        },
    }


def _scores(row: BaselineScoreRow | CalibratedScoreRow | AblationRow | ControlScoreRow) -> Json:
    return {key: value for key, value in asdict(row).items() if key not in _KEYS}


def _result(row: ScorerResultRow) -> Json:
    keys = ("score", "auc", "n_positive", "n_negative", "undefined_reason", "call")
    return {key: getattr(row, key) for key in keys}


def _related_neurons(row: RelatedNeuronsRow, neighbours: Neighbours) -> Iterator[Json]:
    for layer, neuron, weight in zip(row.layers, row.neurons, row.weights, strict=True):
        found = neighbours.get((layer, neuron))
        known = {"explanation": None, "score": None} if found is None else asdict(found)
        yield {
            "layer": layer,
            "neuron": neuron,
            "weight": weight,
            "in_run": found is not None,
        } | known


def _related_tokens(row: RelatedTokensRow, texts: TokenTexts) -> list[Json]:
    pairs = zip(row.tokens, row.weights, strict=True)
    return [{"token": texts[token], "weight": weight} for token, weight in pairs]
