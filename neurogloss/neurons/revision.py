"""The request to revise an explanation, given the neuron's activations on its test sentences.

All messages but the last are the same for every neuron, so that prompt caches serve them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from neurogloss.neurons.few_shot import TokenActivations
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
class ObservedSentence:
    """A test sentence with the neuron's activations on it.

    `is_expected` says that the neuron should fire on it if the explanation is right.
    """

    record: ActivationRecord
    is_expected: bool


def revision_body(
    explanation: str, records: Sequence[ActivationRecord], observed: Sequence[ObservedSentence]
) -> dict[str, Any]:
    """Return the body, without the model, of the request for a better explanation.

    Args:
        explanation: The draft that was tested.
        records: The records of the train split, from which it was written. Their highest
            activation is shown as 10, in the sentences too.
        observed: The test sentences.
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


def _normalized(record: ActivationRecord, highest: float) -> TokenActivations:
    return tuple(zip(record.tokens, normalize(record.activations, highest), strict=True))


def _sentence_lines(number: int, sentence: ObservedSentence, highest: float) -> Iterator[str]:
    """Yield the lines about a sentence, token by token; as plain text if all activations are 0."""
    activations = _normalized(sentence.record, highest)
    maximum = max(activation for _, activation in activations)
    expected = "should fire" if sentence.is_expected else "should not fire"
    yield f"Sentence {number}: the neuron {expected}, and its highest activation is {maximum}."
    if maximum:
        yield record_bodies([activations])
    else:
        yield f"Text: {visible(''.join(sentence.record.tokens))}"
