"""What the explainer is asked, and how text is shown to any model.

Everything before the last message is the same for every neuron, byte for byte, so that providers
can serve it from their prompt caches. A change here changes the identity of every call.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from neurogloss.neurons.few_shot import EXAMPLES, Tokens
from neurogloss.neurons.records import ActivationRecord, normalize

Message = dict[str, str]

EXPLANATION_MAX_TOKENS = 60
REPEAT_BELOW = 0.2  # share of non-zero tokens under which they are listed once more, alone
LEAD_IN = "the main thing this neuron does is find"

_EXPLAINER = (
    "You study neurons of a neural network. Every neuron looks for one particular thing in short "
    "texts. You are shown texts token by token, each token with the neuron's activation on it: an "
    "integer from 0, where it found nothing, to 10, where it found exactly what it looks for. Say "
    "in one short sentence what the neuron looks for. Generalise; do not list the tokens. In "
    r"tokens, \n stands for a line break and \t for a tab."
)


def explanation_body(records: Sequence[ActivationRecord]) -> dict[str, Any]:
    """Return the body, but for the model, of the question what a neuron does.

    Args:
        records: What it did, the records of its train split. Their highest activation becomes 10.
    """
    highest = max(max(record.activations) for record in records)
    return {
        "messages": explanation_messages(records, highest),
        "max_tokens": EXPLANATION_MAX_TOKENS,
        "temperature": 1.0,
        "top_p": 1.0,
    }


def explanation_messages(
    records: Sequence[ActivationRecord], max_activation: float
) -> list[Message]:
    """Return the messages that ask for the explanation of a neuron.

    Args:
        records: What the neuron did, the records of its train split.
        max_activation: The activation that becomes 10.
    """
    shown = [
        tuple(zip(r.tokens, normalize(r.activations, max_activation), strict=True)) for r in records
    ]
    messages = [{"role": "system", "content": _EXPLAINER}]
    for number, example in enumerate(EXAMPLES, start=1):
        messages.append(message("user", _explanation_question(number, example.records)))
        messages.append(message("assistant", f"{LEAD_IN} {example.explanation}."))
    question = _explanation_question(len(EXAMPLES) + 1, shown)
    return [*messages, message("user", question)]


def message(role: str, content: str) -> Message:
    """Return a message of a chat."""
    return {"role": role, "content": content}


def _explanation_question(number: int, records: Sequence[Tokens]) -> str:
    parts = [f"Neuron {number}", "Activations:", record_bodies(records)]
    activations = [activation for record in records for _, activation in record]
    if sum(a > 0 for a in activations) < REPEAT_BELOW * len(activations):
        found = [tuple(pair for pair in record if pair[1] > 0) for record in records]
        parts += ["The same, without the zeros:", record_bodies(found)]
    parts.append(f'Explain neuron {number}. Begin with "{LEAD_IN}".')
    return "\n".join(parts)


def record_bodies(records: Iterable[Tokens]) -> str:
    """Return records one below the other, a line for each token with its activation."""
    return "\n".join(
        "\n".join(["<start>", *(f"{visible(t)}\t{a}" for t, a in record), "<end>"])
        for record in records
    )


def visible(token: str) -> str:
    r"""Return a token on one line, without the marks that separate tokens and records.

    A backslash becomes `\\`, line breaks and tabs become `\n`, `\r` and `\t`, and the first
    character of a token that reads `<start>` or `<end>` becomes `\<`.
    """
    text = token.replace("\\", "\\\\").replace("\n", r"\n").replace("\r", r"\r")
    text = text.replace("\t", r"\t")
    return f"\\{text}" if text in ("<start>", "<end>") else text


def clean_explanation(text: str) -> str:
    """Return an explanation without lead-in, quotes and numbering; empty if nothing is left."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    found = lines[0] if lines else ""
    while (shorter := _without_wrapping(found)) != found:
        found = shorter
    return found


_LEAD_INS = (LEAD_IN, "explanation:", "the neuron looks for", "this neuron looks for", "1.", "-")


def _without_wrapping(text: str) -> str:
    text = text.strip()
    for lead_in in _LEAD_INS:
        if text.lower().startswith(lead_in):
            return text[len(lead_in) :].lstrip(" :")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        return text[1:-1]
    return text.removesuffix(".").rstrip()
