"""Candidates for explanations, and what they were judged by."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping

from db.bulk import upsert
from db.neurons import of_neurons
from db.runs import table
from db.tables import Candidate, CandidateScore, Sentence

CANDIDATE_COLUMNS = tuple(column.name for column in Candidate.__table__.columns)
CANDIDATE_SCORE_COLUMNS = tuple(column.name for column in CandidateScore.__table__.columns)


def save_candidates(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store candidates, in the order of CANDIDATE_COLUMNS; the first one of a number stands."""
    return upsert(connection, table(Candidate), CANDIDATE_COLUMNS, rows)


def save_candidate_scores(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store how candidates were judged, in the order of CANDIDATE_SCORE_COLUMNS."""
    return upsert(connection, table(CandidateScore), CANDIDATE_SCORE_COLUMNS, rows)


def candidates(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the candidates of a range of neurons, by neuron and number."""
    return of_neurons(connection, Candidate, run_id, layer, start, stop)


def candidate_scores(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return how the candidates of a range of neurons were judged, by neuron, stage and number."""
    return of_neurons(connection, CandidateScore, run_id, layer, start, stop)


def sentences(
    connection: Connection, run_id: int, layer: int, start: int, stop: int
) -> Sequence[RowMapping]:
    """Return the sentences written for a range of neurons, by neuron and number."""
    return of_neurons(connection, Sentence, run_id, layer, start, stop)
