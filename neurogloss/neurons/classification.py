"""Scorers that ask a model to classify excerpts by an explanation.

`detection` asks which excerpts hold what is explained. `fuzzing` marks tokens and asks in which
excerpts they are the right ones. Both as in EleutherAI's delphi ("Automatically Interpreting
Millions of Features in Large Language Models", G. Paulo et al., 2024), with one call for a neuron.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import unpack
from neurogloss.neurons.prompts import message, visible
from neurogloss.neurons.records import ActivationRecord, FloatArray
from neurogloss.neurons.simulators.base import ModelReply
from neurogloss.neurons.simulators.json_answers import parse_simulation, value_offsets

Scorer = Literal["detection", "fuzzing"]

FIRES_AT = 0.3  # of the neuron's maximum: a token on which it fires
SILENT_BELOW = 0.1  # of it: a token on which it does not

_MARKS = ("<<", ">>")
_SYSTEM = (
    "You study neurons of a neural network. Every neuron looks for one particular thing in short "
    "texts. You are told what a neuron looks for and shown numbered texts. {task} Answer with one "
    "JSON object that has every number as a key. In texts, \\n stands for a line break and \\t for "
    "a tab."
)
_TASKS: dict[Scorer, str] = {
    "detection": "Say of every text whether it holds what the neuron looks for: 1 if it does, 0 if "
    "it does not.",
    "fuzzing": "In every text some tokens are marked, << before and >> after. Say of every text "
    "whether the marked tokens are those at which the neuron finds what it looks for: 1 if they "
    "are, 0 if they are not.",
}


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """One text that is to be classified, and whether the right answer is 1."""

    text: str
    is_true: bool


def detection_examples(
    positive: Sequence[ActivationRecord], negative: Sequence[ActivationRecord]
) -> list[LabelledExample]:
    """Return whole excerpts: those on which the neuron fires, and others."""
    return [
        *(LabelledExample(_marked(record.tokens, set()), True) for record in positive),
        *(LabelledExample(_marked(record.tokens, set()), False) for record in negative),
    ]


def fuzzing_examples(
    right: Sequence[ActivationRecord],
    wrong: Sequence[ActivationRecord],
    max_activation: float,
    seed: Sequence[int],
) -> list[LabelledExample]:
    """Return excerpts with marked tokens: those on which the neuron fires, or as many others.

    Args:
        right: Records whose tokens are marked rightly.
        wrong: Records whose marks are drawn among tokens on which the neuron is silent; one that
            has too few of these is left out.
        max_activation: Of the neuron.
        seed: Of the draws.
    """
    draw = np.random.default_rng(list(seed))
    examples = [LabelledExample(_marked(r.tokens, _firing(r, max_activation)), True) for r in right]
    for record in wrong:
        silent = [
            place
            for place, activation in enumerate(record.activations)
            if activation < SILENT_BELOW * max_activation
        ]
        n_marks = len(_firing(record, max_activation))
        if n_marks <= len(silent):
            places = draw.choice(silent, n_marks, replace=False).tolist()
            examples.append(LabelledExample(_marked(record.tokens, set(places)), False))
    return examples


def fires(record: ActivationRecord, max_activation: float) -> bool:
    """Return whether the neuron fires on any token of a record."""
    return bool(_firing(record, max_activation))


def is_silent(record: ActivationRecord, max_activation: float) -> bool:
    """Return whether the neuron is silent on all tokens of a record."""
    return max(record.activations) < SILENT_BELOW * max_activation


def _firing(record: ActivationRecord, max_activation: float) -> set[int]:
    found = enumerate(record.activations)
    return {place for place, activation in found if activation >= FIRES_AT * max_activation}


def _marked(tokens: Sequence[str], places: set[int]) -> str:
    """Return a text on one line; marked tokens that are neighbours share their marks."""
    parts = []
    for place, token in enumerate(tokens):
        shown = visible(token)
        for mark in _MARKS:
            shown = shown.replace(mark, f"\\{mark}")
        before = _MARKS[0] if place in places and place - 1 not in places else ""
        after = _MARKS[1] if place in places and place + 1 not in places else ""
        parts.append(f"{before}{shown}{after}")
    return "".join(parts)


def classification_body(
    scorer: Scorer, explanation: str, examples: Sequence[LabelledExample], top_logprobs: int | None
) -> dict[str, Any]:
    """Return the body, but for the model, of the question about these examples."""
    lines = [f"The neuron looks for: {visible(explanation)}", "Texts:"]
    lines += [f"{number}: {example.text}" for number, example in enumerate(examples)]
    keys = [str(number) for number in range(len(examples))]
    answer = {"type": "integer", "enum": [0, 1]}
    schema = {
        "type": "object",
        "properties": dict.fromkeys(keys, answer),
        "required": keys,
        "additionalProperties": False,
    }
    described = {"name": scorer, "strict": True, "schema": schema}
    system = _SYSTEM.format(task=_TASKS[scorer])
    return {
        "messages": [message("system", system), message("user", "\n".join(lines))],
        "max_tokens": 8 * len(examples) + 16,
        "temperature": 0.0,
        "response_format": {"type": "json_schema", "json_schema": described},
        **({} if top_logprobs is None else {"logprobs": True, "top_logprobs": top_logprobs}),
    }


@dataclass(frozen=True, slots=True)
class Classification:
    """What was answered about each example, (n_examples,).

    `answers` are 0 or 1. `probabilities` are those of 1, where the answer has log probabilities.
    """

    answers: FloatArray
    probabilities: FloatArray | None


def read_classification(reply: ModelReply, n_examples: int) -> Classification:
    """Read an answer.

    Raises:
        Malformed: It is no object of so many 0 and 1.
    """
    answers = parse_simulation(reply.text, n_examples)
    if not np.isin(answers, (0, 1)).all():
        raise Malformed(f"the classification has other answers than 0 and 1: {reply.text[:80]!r}")
    return Classification(answers, _probabilities(reply, n_examples))


def _probabilities(reply: ModelReply, n_examples: int) -> FloatArray | None:
    if reply.distributions is None:
        return None
    places = unpack(reply.distributions)
    at = {int(offset): row for row, offset in enumerate(places["offset"])}
    rows = [at.get(offset, -1) for offset in value_offsets(reply.text, n_examples)]
    found = places["probabilities"][rows][:, :2].astype(np.float64) if len(places) else None
    if found is None or -1 in rows or not (found.sum(axis=1) > 0).all():
        raise Malformed("the classification lacks log probabilities of 0 and 1 at an answer")
    probabilities: FloatArray = found[:, 1] / found.sum(axis=1)
    return probabilities


def balanced_accuracy(truth: FloatArray, answers: FloatArray) -> float:
    """Return the mean of the shares of 1 and of 0 that were answered rightly, 0.5 by chance.

    Args:
        truth: 0 and 1, at least one of each, (n_examples,).
        answers: 0 and 1, (n_examples,).
    """
    right = truth == answers
    return float((right[truth == 1].mean() + right[truth == 0].mean()) / 2)


def area_under_curve(truth: FloatArray, probabilities: FloatArray) -> float:
    """Return how often a 1 has a higher probability than a 0, where equal ones count half."""
    ones, zeros = probabilities[truth == 1][:, None], probabilities[truth == 0][None, :]
    return float(((ones > zeros) + 0.5 * (ones == zeros)).mean())
