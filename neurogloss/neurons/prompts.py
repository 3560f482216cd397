"""The explainer's prompt, and how tokens and records are written in any prompt.

All messages but the last are the same for every neuron, byte for byte, so that providers can serve
them from their prompt caches. Any change of wording here changes the identity of every call.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neurogloss.neurons.few_shot import EXAMPLES, TokenActivations
from neurogloss.neurons.records import ActivationRecord, normalize

Message = dict[str, str]

EXPLANATION_MAX_TOKENS = 60  # as in the code of the paper: a sentence or two
REPEAT_BELOW = 0.2  # if fewer tokens than this share are non-zero, they are listed again, alone
LEAD_IN = "the main thing this neuron does is find"

_EXPLAINER = (
    "You study neurons of a neural network. Every neuron looks for one particular thing in short "
    "texts. You are shown texts token by token, each token with the neuron's activation on it: an "
    "integer from 0, where it found nothing, to 10, where it found exactly what it looks for. Say "
    "in one short sentence what the neuron looks for. Generalise; do not list the tokens. In "
    r"tokens, \n stands for a line break and \t for a tab."
)


def explanation_body(records: Sequence[ActivationRecord]) -> dict[str, Any]:
    """Return the body, without the model, of the request to explain a neuron.

    Args:
        records: The records of the train split. Their highest activation is shown as 10.
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
    """Return the messages of the request to explain a neuron.

    Args:
        records: The records of the train split.
        max_activation: The activation that is shown as 10.
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


def with_room(body: Mapping[str, Any], max_tokens: int | None) -> dict[str, Any]:
    """Return a request whose answer may have `max_tokens` tokens, if that is more than it may now.

    Models that think before they answer need the room. Where one token is asked for, it stays one.
    """
    if max_tokens is None or not 1 < body["max_tokens"] < max_tokens:
        return dict(body)
    return {**body, "max_tokens": max_tokens}


def prefilled(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request for an explanation with the beginning of its answer, the lead-in.

    Servers that support it go on from there.
    """
    return {**body, "messages": [*body["messages"], message("assistant", LEAD_IN)]}


def _explanation_question(number: int, records: Sequence[TokenActivations]) -> str:
    parts = [f"Neuron {number}", "Activations:", record_bodies(records)]
    activations = [activation for record in records for _, activation in record]
    if sum(a > 0 for a in activations) < REPEAT_BELOW * len(activations):
        nonzero = [tuple(pair for pair in record if pair[1] > 0) for record in records]
        parts += ["The same, without the zeros:", record_bodies(nonzero)]
    parts.append(f'Explain neuron {number}. Begin with "{LEAD_IN}".')
    return "\n".join(parts)


def record_bodies(records: Iterable[Sequence[tuple[str, int | str]]]) -> str:
    """Return records one below the other, each with one line for each token and its activation."""
    return "\n".join(
        "\n".join(["<start>", *(f"{visible(t)}\t{a}" for t, a in record), "<end>"])
        for record in records
    )


def visible(token: str) -> str:
    r"""Return a token escaped, so that it cannot be taken for the marks between tokens and records.

    A backslash becomes `\\`, line breaks and tabs become `\n`, `\r` and `\t`, and a token that
    reads `<start>` or `<end>` gets a backslash before it.
    """
    text = token.replace("\\", "\\\\").replace("\n", r"\n").replace("\r", r"\r")
    text = text.replace("\t", r"\t")
    return f"\\{text}" if text in ("<start>", "<end>") else text
