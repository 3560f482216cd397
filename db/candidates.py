"""Candidates for explanations, and what they were judged by."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.codec import FLOAT16, INT32
from db.rows import NeuronRows
from db.tables.candidates import candidate_score_table, candidate_table, sentence_table
from neurogloss.neurons.records import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One of several explanations that the explainer wrote about a neuron."""

    run_id: int
    layer: int
    neuron: int
    number: int
    text: str
    explainer: str
    call: bytes | None = None


@dataclass(frozen=True, slots=True)
class CandidateScoreRow:
    """How well a candidate predicts what was held back: a correlation, or why there is none."""

    run_id: int
    layer: int
    neuron: int
    stage: str
    number: int
    score: float | None
    undefined_reason: str | None


@dataclass(frozen=True, slots=True)
class SentenceRow:
    """A sentence that the explainer wrote to try its draft on.

    Once it is observed, it has `tokens` int32 (n_tokens,) and `activations` float16 (n_tokens,).
    """

    run_id: int
    layer: int
    neuron: int
    number: int
    text: str
    is_expected: bool
    for_judging: bool
    call: bytes | None = None
    tokens: IntArray | None = None
    activations: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """The tokens int32 (n_tokens,) of a sentence, and the activations float16 (n_tokens,)."""

    neuron: int
    number: int
    tokens: IntArray
    activations: FloatArray


candidates = NeuronRows(candidate_table, CandidateRow)
candidate_scores = NeuronRows(candidate_score_table, CandidateScoreRow)
sentences = NeuronRows(sentence_table, SentenceRow, {"tokens": INT32, "activations": FLOAT16})


def save_observations(
    connection: Connection, run_id: int, layer: int, observations: Sequence[Observation]
) -> int:
    """Store what was observed of sentences that have not been observed; return how many."""
    values = {
        "neurons": [one.neuron for one in observations],
        "numbers": [one.number for one in observations],
        "tokens": [INT32.pack(one.tokens) for one in observations],
        "activations": [FLOAT16.pack(one.activations) for one in observations],
    }
    return connection.execute(_OBSERVE, {"run": run_id, "layer": layer, **values}).rowcount


_OBSERVE = text("""
    UPDATE sentence SET tokens = seen.tokens, activations = seen.activations
    FROM unnest(CAST(:neurons AS int[]), CAST(:numbers AS int[]), CAST(:tokens AS bytea[]),
                CAST(:activations AS bytea[])) AS seen (neuron, number, tokens, activations)
    WHERE run_id = :run AND layer = :layer AND sentence.neuron = seen.neuron
      AND sentence.number = seen.number AND sentence.tokens IS NULL
""")
