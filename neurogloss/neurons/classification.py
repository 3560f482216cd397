"""Scorers that have a model classify excerpts by an explanation, in one call for each neuron.

`detection` asks which excerpts contain what the explanation describes. `fuzzing` marks tokens and
asks in which excerpts the right tokens are marked. Both follow EleutherAI's delphi ("Automatically
Interpreting Millions of Features in Large Language Models", G. Paulo et al., 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.distributions import unpack_distributions
from neurogloss.neurons.json_answers import parse_simulation, value_offsets
from neurogloss.neurons.prompts import message, visible
from neurogloss.neurons.records import ActivationRecord, FloatArray
from neurogloss.neurons.simulators.base import ModelReply

ScorerKind = Literal["detection", "fuzzing"]

# Thresholds as shares of the neuron's highest activation. Between them a token counts as neither.
FIRES_AT = 0.3
SILENT_BELOW = 0.1  # of a neuron's maximum: below it, it counts as not firing

_MARKS = ("<<", ">>")
_SYSTEM = (
    "You study neurons of a neural network. Every neuron looks for one particular thing in short "
    "texts. You are told what a neuron looks for and shown numbered texts. {task} Answer with one "
    "JSON object that has every number as a key. In texts, \\n stands for a line break and \\t for "
    "a tab."
)
_TASKS: dict[ScorerKind, str] = {
    "detection": "Say of every text whether it holds what the neuron looks for: 1 if it does, 0 if "
    "it does not.",
    "fuzzing": "In every text some tokens are marked, << before and >> after. Say of every text "
    "whether the marked tokens are those at which the neuron finds what it looks for: 1 if they "
    "are, 0 if they are not.",
}


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """A text to classify; `is_true` says that the right answer is 1."""

    text: str
    is_true: bool


def detection_examples(
    positive: Sequence[ActivationRecord], negative: Sequence[ActivationRecord]
) -> list[LabelledExample]:
    """Return examples of whole excerpts: 1 for the positive records, 0 for the negative ones."""
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
    """Return examples of excerpts with marked tokens.

    Args:
        right: Records in which the tokens on which the neuron fires are marked; the answer is 1.
        wrong: Records in which as many tokens on which it is silent are marked, drawn at random;
            the answer is 0. A record with too few silent tokens is left out.
        max_activation: The neuron's highest activation.
        seed: Of the draws.
    """
    random = np.random.default_rng(list(seed))
    examples = [LabelledExample(_marked(r.tokens, _firing(r, max_activation)), True) for r in right]
    for record in wrong:
        silent = [
            place
            for place, activation in enumerate(record.activations)
            if activation < SILENT_BELOW * max_activation
        ]
        n_marks = len(_firing(record, max_activation))
        if n_marks <= len(silent):
            places = random.choice(silent, n_marks, replace=False).tolist()
            examples.append(LabelledExample(_marked(record.tokens, set(places)), False))
    return examples


def fires(record: ActivationRecord, max_activation: float) -> bool:
    """Return whether the neuron fires on any token of a record."""
    return bool(_firing(record, max_activation))


def is_silent(record: ActivationRecord, max_activation: float) -> bool:
    """Return whether the neuron is silent on all tokens of a record."""
    return max(record.activations) < SILENT_BELOW * max_activation


def _firing(record: ActivationRecord, max_activation: float) -> set[int]:
    """Return the places of the tokens on which the neuron fires."""
    return {
        place
        for place, activation in enumerate(record.activations)
        if activation >= FIRES_AT * max_activation
    }


def _marked(tokens: Sequence[str], places: set[int]) -> str:
    """Return a text on one line, with one pair of marks around each run of marked tokens."""
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
    scorer: ScorerKind,
    explanation: str,
    examples: Sequence[LabelledExample],
    top_logprobs: int | None,
) -> dict[str, Any]:
    """Return the body, without the model, of the request to classify these examples."""
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
    """The model's answers, float64 (n_examples,), each 0 or 1.

    `probabilities`, of the same shape, are those of a 1; None without log probabilities.
    """

    answers: FloatArray
    probabilities: FloatArray | None


def read_classification(reply: ModelReply, n_examples: int) -> Classification:
    """Read the answer to `classification_body`.

    Raises:
        Malformed: The answer is not an object of `n_examples` values 0 and 1, or has log
            probabilities, but none of 0 and 1 at some value.
    """
    answers = parse_simulation(reply.text, n_examples)
    if not np.isin(answers, (0, 1)).all():
        raise Malformed(f"the classification has other answers than 0 and 1: {reply.text[:80]!r}")
    return Classification(answers, _probabilities(reply, n_examples))


def _probabilities(reply: ModelReply, n_examples: int) -> FloatArray | None:
    if reply.distributions is None:
        return None
    places = unpack_distributions(reply.distributions)
    row_of = {int(offset): row for row, offset in enumerate(places["offset"])}
    # Looked for where the answer's values stand: log probabilities come for every token of the
    # text.
    rows = [row_of.get(offset, -1) for offset in value_offsets(reply.text, n_examples)]
    # (n_examples, 2): the probabilities of 0 and of 1 at each answer
    binary = places["probabilities"][rows][:, :2].astype(np.float64) if len(places) else None
    if binary is None or -1 in rows or not (binary.sum(axis=1) > 0).all():
        raise Malformed("the classification lacks log probabilities of 0 and 1 at an answer")
    probabilities: FloatArray = binary[:, 1] / binary.sum(axis=1)
    return probabilities


def balanced_accuracy(truth: FloatArray, answers: FloatArray) -> float:
    """Return the mean of the accuracies on the 1s and on the 0s; guessing gives 0.5.

    Args:
        truth: 0 and 1, at least one of each, (n_examples,).
        answers: 0 and 1, (n_examples,).
    """
    right = truth == answers
    return float((right[truth == 1].mean() + right[truth == 0].mean()) / 2)


def area_under_curve(truth: FloatArray, probabilities: FloatArray) -> float:
    """Return the area under the ROC curve, (n_examples,) each.

    It is the share of pairs of a 1 and a 0 in which the 1 has the higher probability of a 1; ties
    count half.
    """
    ones, zeros = probabilities[truth == 1][:, None], probabilities[truth == 0][None, :]
    return float(((ones > zeros) + 0.5 * (ones == zeros)).mean())
