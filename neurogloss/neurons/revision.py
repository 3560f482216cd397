"""Revising an explanation by what the neuron did on sentences that were written to try it.

All but the last message of the question is the same for every neuron.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from neurogloss.neurons.few_shot import Tokens
from neurogloss.neurons.prompts import (
    EXPLANATION_MAX_TOKENS,
    LEAD_IN,
    message,
    record_bodies,
    visible,
)
from neurogloss.neurons.records import ActivationRecord, normalize

_SYSTEM = (
    "You study neurons of a neural network. Every neuron looks for one particular thing in short "
    "texts. You are shown texts on which a neuron fires, token by token, each token with the "
    "neuron's activation on it: an integer from 0, where it found nothing, to 10, where it found "
    "exactly what it looks for. You are shown an explanation that was written from these texts, "
    "and sentences that were written to try it, with what the neuron really did on them. Say in "
    "one short sentence what the neuron looks for, so that it agrees with all of this. Keep what "
    "holds of the explanation. Narrow it where the neuron stays silent on sentences on which it "
    "should fire; widen or change it where it fires on sentences on which it should not. A neuron "
    "sees a token and what comes before it, never what follows. Generalise; do not list the "
    r"tokens. In tokens, \n stands for a line break and \t for a tab."
)


@dataclass(frozen=True, slots=True)
class Observed:
    """A sentence with what the neuron did on it, and whether it should fire by the explanation."""

    record: ActivationRecord
    is_expected: bool


def revision_body(
    explanation: str, records: Sequence[ActivationRecord], observed: Sequence[Observed]
) -> dict[str, Any]:
    """Return the body, but for the model, of the question for a better explanation.

    Args:
        explanation: That was tried.
        records: What it was written from, those of the train split. Their highest activation
            becomes 10, on the sentences too.
        observed: What came of the trial.
    """
    highest = max(max(record.activations) for record in records)
    lines = [
        "Activations:",
        record_bodies(_normalized(record, highest) for record in records),
        f"Explanation: {visible(explanation)}",
    ]
    for number, sentence in enumerate(observed, start=1):
        lines += _sentence_lines(number, sentence, highest)
    lines.append(f'Explain the neuron. Begin with "{LEAD_IN}".')
    return {
        "messages": [message("system", _SYSTEM), message("user", "\n".join(lines))],
        "max_tokens": EXPLANATION_MAX_TOKENS,
        "temperature": 1.0,
        "top_p": 1.0,
    }


def _normalized(record: ActivationRecord, highest: float) -> Tokens:
    return tuple(zip(record.tokens, normalize(record.activations, highest), strict=True))


def _sentence_lines(number: int, sentence: Observed, highest: float) -> Iterator[str]:
    """Yield what is shown of a sentence; one on which nothing happened is shown as a whole."""
    shown = _normalized(sentence.record, highest)
    reached = max(activation for _, activation in shown)
    expected = "should fire" if sentence.is_expected else "should not fire"
    yield f"Sentence {number}: the neuron {expected}, and its highest activation is {reached}."
    if reached:
        yield record_bodies([shown])
    else:
        yield f"Text: {visible(''.join(sentence.record.tokens))}"
