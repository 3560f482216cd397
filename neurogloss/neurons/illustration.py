"""Sentences that put an explanation to the test: how they are asked for, and read.

Half of them should make the neuron fire if the explanation is right, half should not. All but the
last message of the question is the same for every neuron of a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurogloss.errors import Malformed
from neurogloss.neurons.prompts import message, visible
from neurogloss.neurons.simulators.json_answers import loads

MAX_CHARACTERS = 400  # of a sentence; a subject model reads its first tokens only
MAX_WORDS = 25
MAX_TOKENS = 60  # of a sentence and its key, in the answer
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
    """One sentence; `is_expected` says whether the neuron should fire on it.

    One `for_judging` is not shown when the explanation is revised.
    """

    text: str
    is_expected: bool
    for_judging: bool


def illustration_body(explanation: str, n_sentences: int, n_tokens: int) -> dict[str, Any]:
    """Return the body, but for the model, of the question for sentences.

    Args:
        explanation: That is to be tried.
        n_sentences: In all, an even number.
        n_tokens: That the subject model will read of a sentence.
    """
    half = n_sentences // 2
    system = _SYSTEM.format(half=half, words=min(MAX_WORDS, max(4, n_tokens // 2)))
    asked = f"The neuron is thought to look for: {visible(explanation)}"
    described = {"name": "sentences", "strict": True, "schema": _schema(half)}
    return {
        "messages": [message("system", system), message("user", asked)],
        "max_tokens": MAX_TOKENS * n_sentences,
        "temperature": 1.0,
        "response_format": {"type": "json_schema", "json_schema": described},
    }


def _schema(half: int) -> dict[str, Any]:
    """Return a schema of static keys, which every provider's strict mode takes."""
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
    """Return the sentences of an answer, those on which the neuron should fire first.

    Of each kind, every second one is for judging.

    Raises:
        Malformed: They are not as many as were asked for, one is no text that can be stored, is
            empty or too long, or two are the same.
    """
    answer = loads(text, "the answer")
    if not isinstance(answer, dict) or answer.keys() != {FIRES, SILENT}:
        raise Malformed(f"the answer is no object of {FIRES} and {SILENT}: {text[:80]!r}")
    found = [
        WrittenSentence(_sentence(value), kind == FIRES, number % 2 == 1)
        for kind in (FIRES, SILENT)
        for number, value in enumerate(_in_order(answer[kind], kind, n_sentences // 2))
    ]
    if len({sentence.text for sentence in found}) < len(found):
        raise Malformed("a sentence occurs twice")
    return found


def _in_order(values: Any, kind: str, n: int) -> list[Any]:
    """Return what stands under one key: an object of numbers, or a list of the right length."""
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
    found = value.strip()
    if not found:
        raise Malformed("a sentence is empty")
    if len(found) > MAX_CHARACTERS:
        raise Malformed(f"a sentence has {len(found)} characters, more than {MAX_CHARACTERS}")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in found):
        raise Malformed("a sentence holds what no text may: NUL, or half a character")
    return found
