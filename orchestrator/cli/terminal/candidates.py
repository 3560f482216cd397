"""The candidates of a neuron's explanation, and the sentences that they were tried on."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from orchestrator.cli.terminal.plain import number, plain


def candidate_lines(values: Mapping[str, Any]) -> Group:
    """Return a line for each candidate and each sentence; see `db.neuron_evaluations`."""
    lines = [_candidate_line(candidate) for candidate in values["candidates"]]
    lines += [
        Text(
            f"sentence {number(sentence['max_activation'])} "
            f"({'should' if sentence['is_expected'] else 'should not'} fire)  "
            f"{plain(sentence['text'])}"
        )
        for sentence in values["sentences"]
    ]
    return Group(*lines)


def _candidate_line(candidate: Mapping[str, Any]) -> Text:
    judged = "   ".join(f"{stage} {number(score)}" for stage, score in candidate["judged"].items())
    kept = " (kept)" if candidate["is_chosen"] else ""
    text = plain(candidate["text"])
    return Text(f"candidate {candidate['number']}{kept}: {judged or 'not judged'}  {text}")
