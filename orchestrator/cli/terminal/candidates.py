"""What else a neuron's explanation might have been, and what decided."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from db.candidates import CandidateRow, CandidateScoreRow, SentenceRow
from db.neuron import StoredNeuron
from orchestrator.cli.terminal.views import number, plain


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


def neuron_lines(found: Mapping[str, Any]) -> Group:
    """Return what a terminal shows of it."""
    lines = [_candidate_line(candidate) for candidate in found["candidates"]]
    lines += [
        Text(
            f"sentence {number(sentence['max_activation'])} "
            f"({'should' if sentence['is_expected'] else 'should not'} fire)  "
            f"{plain(sentence['text'])}"
        )
        for sentence in found["sentences"]
    ]
    return Group(*lines)


def _candidate_line(candidate: Mapping[str, Any]) -> Text:
    judged = "   ".join(f"{stage} {number(score)}" for stage, score in candidate["judged"].items())
    kept = " (kept)" if candidate["is_chosen"] else ""
    text = plain(candidate["text"])
    return Text(f"candidate {candidate['number']}{kept}: {judged or 'not judged'}  {text}")
