"""The forms in which a model can write the activations of one text as JSON.

`positions` has bare numbers as keys, so that the model must count: the default, and what several
texts in one call always have. `array` has no keys: the schema, which depends on the length alone,
fixes the number of values. `tokens` repeats each token beside its number; such keys depend on the
text, so no schema can hold them. benchmarks/answer_forms.py compares them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from neurogloss.errors import Malformed
from neurogloss.neurons.json_answers import load_json, parse_simulation, read_activations
from neurogloss.neurons.prompts import visible
from neurogloss.neurons.records import FloatArray

FormName = Literal["positions", "array", "tokens"]
_ARRAY = "activations"


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """A form of answers.

    Attributes:
        asked_for: What the prompt says that the answer has.
        tokens_each: At most, of the answer, for each token of the text.
        written: Returns what an example shows, from tokens and activations.
        response_format: Returns the `response_format` for a length, and the highest activation.
        read: Returns the activations of an answer, float64 (n,); raises Malformed.
    """

    asked_for: str
    tokens_each: int
    written: Callable[[Sequence[str], Sequence[int]], object]
    response_format: Callable[[int, int], dict[str, Any]]
    read: Callable[[str, int], FloatArray]


def strict_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `response_format` of a strict schema for simulations."""
    described = {"name": "simulation", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": described}


def object_of(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the schema of an object with the keys "0", "1" and so on."""
    keys = [str(number) for number in range(len(values))]
    return {
        "type": "object",
        "properties": dict(zip(keys, values, strict=True)),
        # Strict modes demand that all keys are required and that there are no others.
        "required": keys,
        "additionalProperties": False,
    }


def level(highest: int) -> dict[str, Any]:
    """Return the schema of an activation."""
    return {"type": "integer", "enum": list(range(highest + 1))}


def _array_format(n_tokens: int, highest: int) -> dict[str, Any]:
    array = {
        "type": "array",
        "items": level(highest),
        "minItems": n_tokens,
        "maxItems": n_tokens,
    }
    return strict_format(
        {
            "type": "object",
            "properties": {_ARRAY: array},
            "required": [_ARRAY],
            "additionalProperties": False,
        }
    )


def _read_by_token(text: str, n_tokens: int) -> FloatArray:
    """Read an object whose keys begin with the number of their token."""
    values = load_json(text)
    if not isinstance(values, dict):
        return read_activations(values, n_tokens)
    numbered = {key.partition(":")[0].strip(): value for key, value in values.items()}
    if len(numbered) < len(values):
        raise Malformed("the answer names a position twice")
    return read_activations(numbered, n_tokens)


FORMS: Mapping[FormName, AnswerForm] = {
    "positions": AnswerForm(
        asked_for="every number as a key",
        tokens_each=8,  # some 5 are written, 8 leave room for spaces
        written=lambda tokens, values: {str(n): value for n, value in enumerate(values)},
        response_format=lambda n, highest: strict_format(object_of([level(highest)] * n)),
        read=parse_simulation,
    ),
    "array": AnswerForm(
        asked_for=f'the key "{_ARRAY}", and under it an array of the activations of all tokens, in '
        "their order",
        tokens_each=4,
        written=lambda tokens, values: {_ARRAY: list(values)},
        response_format=_array_format,
        read=parse_simulation,
    ),
    "tokens": AnswerForm(
        asked_for="every number with its token as a key, written as in the list of tokens",
        tokens_each=16,
        written=lambda tokens, values: {
            f"{n}: {visible(token)}": value
            for n, (token, value) in enumerate(zip(tokens, values, strict=True))
        },
        response_format=lambda n, highest: {"type": "json_object"},
        read=_read_by_token,
    ),
}
