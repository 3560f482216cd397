"""Candidates for explanations, and what they were judged by."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from db.bulk import upsert
from db.neurons import of_neurons
from db.runs import table
from db.tables import CandidateScoreTable, CandidateTable, SentenceTable

CANDIDATE_COLUMNS = tuple(column.name for column in CandidateTable.__table__.columns)
CANDIDATE_SCORE_COLUMNS = tuple(column.name for column in CandidateScoreTable.__table__.columns)
SENTENCE_COLUMNS = (
    "run_id",
    "layer",
    "neuron",
    "number",
    "text",
    "is_expected",
    "for_judging",
    "call",
)


def save_candidates(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store candidates, in the order of CANDIDATE_COLUMNS; the first one of a number stands."""
    return upsert(connection, table(CandidateTable), CANDIDATE_COLUMNS, rows)


def save_candidate_scores(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store how candidates were judged, in the order of CANDIDATE_SCORE_COLUMNS."""
    return upsert(connection, table(CandidateScoreTable), CANDIDATE_SCORE_COLUMNS, rows)


def save_sentences(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store sentences, in the order of SENTENCE_COLUMNS; the first one of a number stands."""
    return upsert(connection, table(SentenceTable), SENTENCE_COLUMNS, rows)


def save_observations(
    connection: Connection, run_id: int, layer: int, rows: Sequence[tuple[int, int, bytes, bytes]]
) -> int:
    """Store (neuron, number, tokens, activations) of sentences that have not been observed."""
    neurons, numbers, tokens, activations = map(list, zip(*rows, strict=True)) if rows else [[]] * 4
    values = {"neurons": neurons, "numbers": numbers, "tokens": tokens, "activations": activations}
    found = connection.execute(_OBSERVE, {"run": run_id, "layer": layer, **values})
    return found.rowcount


_OBSERVE = text("""
    UPDATE sentence SET tokens = seen.tokens, activations = seen.activations
    FROM unnest(CAST(:neurons AS int[]), CAST(:numbers AS int[]), CAST(:tokens AS bytea[]),
                CAST(:activations AS bytea[])) AS seen (neuron, number, tokens, activations)
    WHERE run_id = :run AND layer = :layer AND sentence.neuron = seen.neuron
      AND sentence.number = seen.number AND sentence.tokens IS NULL
""")


def candidates(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the candidates of a range of neurons, by neuron and number."""
    return of_neurons(connection, CandidateTable, run_id, layer, start, stop)


def candidate_scores(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return how the candidates of a range of neurons were judged, by neuron, stage and number."""
    return of_neurons(connection, CandidateScoreTable, run_id, layer, start, stop)


def sentences(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the sentences written for a range of neurons, by neuron and number."""
    return of_neurons(connection, SentenceTable, run_id, layer, start, stop)
