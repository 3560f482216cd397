"""Test sentences for an explanation: the request that the explainer write them, and its answer.

If the explanation is right, half of them should make the neuron fire and half should not. All
messages but the last are the same for every neuron of a run, so that prompt caches serve them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurogloss.errors import Malformed
from neurogloss.neurons.json_answers import load_json
from neurogloss.neurons.prompts import message, visible

MAX_CHARACTERS = 400  # accepted in a sentence, of which the subject model reads the first tokens
MAX_WORDS = 25  # asked for in a sentence
MAX_TOKENS = 60  # allowed in the answer for each sentence and its key
FIRES, SILENT = "fires", "silent"  # keys of the answer

_SYSTEM = (
    "You study neurons of a neural network. Every neuron looks for one particular thing in short "
    "texts. You are told what a neuron is thought to look for, and write sentences that show "
    "whether this is right: {half} on which the neuron should fire if it is, and {half} on which "
    "it should not. Let those on which it should fire differ in topic and wording as far as the "
    "explanation allows. Let those on which it should not be hard cases: they resemble the others "
    "in topic, words or form, and lack what the neuron looks for. Every sentence stands for "
    "itself, has at most {words} words, and occurs once. A neuron sees a word and what comes "
    "before it, never what follows. Answer with one JSON object that has the keys "
    f'"{FIRES}" and "{SILENT}", and under each of them an object that has the number of every '
    "sentence, from 0, as a key."
)


@dataclass(frozen=True, slots=True)
class WrittenSentence:
    """One sentence; `is_expected` says that the neuron should fire on it.

    Sentences `for_judging` are kept from the explainer when it revises the explanation.
    """

    text: str
    is_expected: bool
    for_judging: bool


def illustration_body(explanation: str, n_sentences: int, n_tokens: int) -> dict[str, Any]:
    """Return the body, without the model, of the request for sentences.

    Args:
        explanation: The explanation to test.
        n_sentences: In all, an even number.
        n_tokens: How many tokens of a sentence the subject model will read.
    """
    half = n_sentences // 2
    system = _SYSTEM.format(half=half, words=min(MAX_WORDS, max(4, n_tokens // 2)))
    question = f"The neuron is thought to look for: {visible(explanation)}"
    described = {"name": "sentences", "strict": True, "schema": _schema(half)}
    return {
        "messages": [message("system", system), message("user", question)],
        "max_tokens": MAX_TOKENS * n_sentences,
        "temperature": 1.0,
        "response_format": {"type": "json_schema", "json_schema": described},
    }


def _schema(half: int) -> dict[str, Any]:
    """Return the schema of an answer. Static keys are what every provider's strict mode takes."""
    numbered = _object_of({str(number): {"type": "string"} for number in range(half)})
    return _object_of({FIRES: numbered, SILENT: numbered})


def _object_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def read_illustration(text: str, n_sentences: int) -> list[WrittenSentence]:
    """Read the answer to `illustration_body`.

    The sentences on which the neuron should fire come first. Of each kind, every second sentence is
    for judging.

    Raises:
        Malformed: There are more or fewer sentences than `n_sentences`, two are the same, or one is
            empty, too long, not text, or text that cannot be stored.
    """
    answer = load_json(text, "the answer")
    if not isinstance(answer, dict) or answer.keys() != {FIRES, SILENT}:
        raise Malformed(f"the answer is no object of {FIRES} and {SILENT}: {text[:80]!r}")
    sentences = [
        WrittenSentence(_sentence(value), kind == FIRES, number % 2 == 1)
        for kind in (FIRES, SILENT)
        for number, value in enumerate(_in_order(answer[kind], kind, n_sentences // 2))
    ]
    if len({sentence.text for sentence in sentences}) < len(sentences):
        raise Malformed("a sentence occurs twice")
    return sentences


def _in_order(values: Any, kind: str, n: int) -> list[Any]:
    """Return the `n` values under one key, from an object with numbers as keys or from a list."""
    if isinstance(values, dict):
        numbers = [str(number) for number in range(n)]
        if values.keys() != set(numbers):
            raise Malformed(f"{kind} has not the numbers 0 to {n - 1} as its keys")
        return [values[number] for number in numbers]
    if not isinstance(values, list) or len(values) != n:
        raise Malformed(f"{kind} does not hold {n} sentences")
    return values


def _sentence(value: Any) -> str:
    if not isinstance(value, str):
        raise Malformed(f"a sentence is {str(value)[:20]}, which is no text")
    text = value.strip()
    if not text:
        raise Malformed("a sentence is empty")
    if len(text) > MAX_CHARACTERS:
        raise Malformed(f"a sentence has {len(text)} characters, more than {MAX_CHARACTERS}")
    # Postgres stores no NUL, and UTF-8 encodes no lone surrogate.
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        raise Malformed("a sentence holds what no text may: NUL, or half a character")
    return text
