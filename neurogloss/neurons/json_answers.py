"""Reading numbers that a model wrote as JSON, keyed by position.

An answer that cannot be read is an error: no zero ever stands for a failure.
"""

import json
import re
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.reasoning import without_reasoning
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray


def parse_simulation(text: str, n_tokens: int) -> FloatArray:
    """Return the activations that an answer holds, float64 (n_tokens,), from 0 to 10.

    The answer is the object that was asked for, keyed by position, or a list of the same length.

    Raises:
        Malformed: The answer is neither, or a value is missing, given twice, not a number, or out
            of range.
    """
    return read_activations(load_json(text), n_tokens)


_BRACKET = re.compile(r"[{[]")
_FENCED = re.compile(r"(?i:```(?:json)?)(.*?)(?:```|\Z)", re.DOTALL)
_KEY = re.compile(r'"(\d{1,6})"\s*:\s*"?')


def value_offsets(text: str, n_tokens: int) -> list[int]:
    """Return the offset, in characters, of the value of each position.

    Args:
        text: An answer that `parse_simulation` has read.
        n_tokens: The number of positions.

    Raises:
        Malformed: A position has no key, as in a list.
    """
    offsets = {match[1]: match.end() for match in _KEY.finditer(text)}
    missing = [n for n in range(n_tokens) if str(n) not in offsets]
    if missing:
        raise Malformed(f"the simulation does not name position {missing[0]} by its key")
    return [offsets[str(n)] for n in range(n_tokens)]


def read_records(text: str, n_records: int) -> list[Any]:
    """Return what an answer holds for each of several records, to be read by `read_activations`.

    Raises:
        Malformed: The answer is neither an object nor a list of `n_records` values.
    """
    values = load_json(text)
    if isinstance(values, dict):
        values = _in_order(values, n_records, "texts")
    if not isinstance(values, list) or len(values) != n_records:
        raise Malformed(f"the simulation is no object of {n_records} texts: {text[:80]!r}")
    return values


def read_activations(values: Any, n_tokens: int) -> FloatArray:
    """Return one record's activations from decoded JSON, float64 (n_tokens,).

    Raises:
        Malformed: As in `parse_simulation`.
    """
    if isinstance(values, dict) and values.keys() == {"activations"}:
        values = values["activations"]
    if isinstance(values, dict):
        values = _in_order(values, n_tokens, "positions")
    if not isinstance(values, list):
        raise Malformed(f"the simulation is no object: {str(values)[:80]!r}")
    if len(values) != n_tokens:
        raise Malformed(f"the simulation has {len(values)} values for {n_tokens} tokens")
    # Nearly every answer: checked without a loop of Python code. Exact types, as booleans are
    # integers.
    if set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= MAX_NORMALIZED:
        return np.array(values, dtype=np.float64)
    return np.array([_value(value, place) for place, value in enumerate(values)])


def load_json(text: str, what: str = "the simulation") -> Any:
    """Decode JSON, with or without reasoning before it, and sentences or a code fence around it.

    Args:
        text: The answer.
        what: Its name in the error message.

    Raises:
        Malformed: The text is not JSON, or holds several values, or an object has a key twice.
    """
    # First as it is: a value may speak of such marks. Nearly every answer is read so.
    with suppress(ValueError, RecursionError):
        return _decoded(text.strip())
    answer = without_reasoning(text)
    for read in (_decoded, _only_value):
        with suppress(ValueError, RecursionError):
            return read(answer)
    if text.strip() and not answer:
        raise Malformed("the answer is reasoning alone, without JSON after it")
    raise Malformed(f"{what} is no JSON: {text[:80]!r}")


def _decoded(text: str) -> Any:
    if not text.startswith(("{", "[")) and (fenced := _FENCED.search(text)):
        text = fenced[1]
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_without_duplicates)


def _only_value(text: str) -> Any:
    """Return the only object or list among sentences; of several, none is taken.

    Raises:
        ValueError: There is none, or more than one.
    """
    begin = _BRACKET.search(text)
    if begin is None:
        raise ValueError("there is no value")
    decoder = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_without_duplicates)
    value, end = decoder.raw_decode(text, begin.start())
    if _BRACKET.search(text, end):
        raise ValueError("there are several values")
    return value


def _refuse(constant: str) -> None:
    """Refuse NaN and Infinity, which Python's decoder would take."""
    raise ValueError(constant)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        # json itself takes the last of them without a word.
        raise Malformed("the answer names a key twice")
    return values


def _in_order(values: dict[str, Any], n: int, what: str) -> list[Any]:
    """Return the values of an object with the keys "0" to "n-1", by key."""
    keys = _keys(n)
    if list(values) == keys:
        return list(values.values())
    missing = [key for key in keys if key not in values]
    unknown = [key for key in values if key not in set(keys)]
    if missing:
        raise Malformed(f"the simulation lacks {len(missing)} {what}, first {missing[0]}")
    if unknown:
        raise Malformed(f"the simulation has a position that was not asked: {unknown[0][:20]!r}")
    return [values[key] for key in keys]


@cache
def _keys(n: int) -> list[str]:
    return [str(number) for number in range(n)]


def _value(value: Any, place: int) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as error:
            raise Malformed(f"position {place} is {value[:20]!r}") from error
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"position {place} is {str(value)[:20]}, which is no number")
    if not 0 <= value <= MAX_NORMALIZED:
        raise Malformed(f"position {place} is {str(value)[:20]}, not between 0 and 10")
    return float(value)
