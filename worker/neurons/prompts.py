"""What the explainer and the simulator are asked.

Everything before the last message is the same for every neuron, byte for byte, so that providers
can serve it from their prompt caches. A change here changes the identity of every call.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from worker.neurons.few_shot import EXAMPLES, Example, Tokens
from worker.neurons.records import MAX_NORMALIZED, ActivationRecord, normalize

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

_SIMULATOR = (
    "You study neurons of a neural network. Every neuron looks for one particular thing in short "
    "texts. You are told what a neuron looks for and given the tokens of a text, numbered. Predict "
    "the neuron's activation on every token: an integer from 0, where it finds nothing, to 10, "
    "where it finds exactly what it looks for. Most activations are 0. A neuron sees a token and "
    "what comes before it, never what follows. Answer with one JSON object that has every number "
    r"as a key. In tokens, \n stands for a line break and \t for a tab."
)


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
        messages.append(_message("user", _explanation_question(number, example.records)))
        messages.append(_message("assistant", f"{LEAD_IN} {example.explanation}."))
    question = _explanation_question(len(EXAMPLES) + 1, shown)
    return [*messages, _message("user", question)]


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _explanation_question(number: int, records: Sequence[Tokens]) -> str:
    parts = [f"Neuron {number}", "Activations:", _bodies(records)]
    activations = [activation for record in records for _, activation in record]
    if sum(a > 0 for a in activations) < REPEAT_BELOW * len(activations):
        found = [tuple(pair for pair in record if pair[1] > 0) for record in records]
        parts += ["The same, without the zeros:", _bodies(found)]
    parts.append(f'Explain neuron {number}. Begin with "{LEAD_IN}".')
    return "\n".join(parts)


def _bodies(records: Iterable[Tokens]) -> str:
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


def simulation_messages(explanation: str, tokens: Sequence[str]) -> list[Message]:
    """Return the messages that ask what a neuron of this explanation does on these tokens."""
    return [*_simulation_examples(), _message("user", _simulation_question(explanation, tokens))]


@cache
def _simulation_examples() -> Sequence[Message]:
    messages = [{"role": "system", "content": _SIMULATOR}]
    for example in EXAMPLES:
        shown = [token for token, _ in example.records[0]]
        messages.append(_message("user", _simulation_question(example.explanation, shown)))
        messages.append(_message("assistant", _simulation_answer(example)))
    return messages


def _simulation_question(explanation: str, tokens: Sequence[str]) -> str:
    numbered = "\n".join(f"{number}: {visible(token)}" for number, token in enumerate(tokens))
    return f"The neuron looks for: {visible(explanation)}\nTokens:\n{numbered}"


def _simulation_answer(example: Example) -> str:
    values = {str(number): a for number, (_, a) in enumerate(example.records[0])}
    return json.dumps(values, separators=(",", ":"))


@cache
def simulation_response_format(n_tokens: int) -> dict[str, Any]:
    """Return the schema of an answer: one integer from 0 to 10 for every position.

    Static keys and enums are what every provider's strict mode takes, and a schema that is the same
    for every record of a length is compiled once.
    """
    keys = [str(number) for number in range(n_tokens)]
    value = {"type": "integer", "enum": list(range(MAX_NORMALIZED + 1))}
    schema = {
        "type": "object",
        "properties": dict.fromkeys(keys, value),
        "required": keys,
        "additionalProperties": False,
    }
    described = {"name": "simulation", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": described}


def simulation_max_tokens(n_tokens: int) -> int:
    """Return a limit for the answer: about five tokens a position, with room for white space."""
    return 8 * n_tokens + 16
