"""What else a neuron's explanation might have been, and what decided."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Group
from rich.text import Text
from sqlalchemy import Connection

from db import candidates, results
from orchestrator.cli.terminal.views import Row, number, plain


def of_neuron(connection: Connection, run_id: int, layer: int, neuron: int) -> dict[str, Any]:
    """Return a neuron's candidates and the sentences they were tried on, in the types of JSON."""
    place = (run_id, layer, neuron, neuron + 1)
    explanation = results.explanations(connection, *place).get(neuron)
    scores = candidates.candidate_scores(connection, *place)
    found = candidates.candidates(connection, *place)
    chosen = next((row["number"] for row in found if row["text"] == explanation), None)
    return {
        "candidates": [_candidate(row, scores, is_chosen=row["number"] == chosen) for row in found],
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
