"""Reading activations that a model wrote as JSON. What cannot be read is an error, never a zero."""

import json
import re
from functools import cache
from typing import Any

import numpy as np

from neurogloss.errors import Malformed
from neurogloss.neurons.records import MAX_NORMALIZED, FloatArray


def parse_simulation(text: str, n_tokens: int) -> FloatArray:
    """Return the simulated activations, float64 of shape (n_tokens,), from 0 to 10.

    Takes the object that was asked for, keyed by position, or a list of the right length.

    Raises:
        Malformed: It is neither, or a value is missing, named twice, of another type, or out of
            range.
    """
    return activations_in(loads(text), n_tokens)


_KEY = re.compile(r'"(\d{1,6})"\s*:\s*"?')


def value_offsets(text: str, n_tokens: int) -> list[int]:
    """Return the character at which the value of each position begins.

    Args:
        text: What `parse_simulation` could read.
        n_tokens: Of the record.

    Raises:
        Malformed: A position is not named by its key.
    """
    found = {match[1]: match.end() for match in _KEY.finditer(text)}
    missing = [n for n in range(n_tokens) if str(n) not in found]
    if missing:
        raise Malformed(f"the simulation does not name position {missing[0]} by its key")
    return [found[str(n)] for n in range(n_tokens)]


def texts_in(text: str, n_records: int) -> list[Any]:
    """Return what an answer says of each of several records.

    Raises:
        Malformed: It is no object or list of so many.
    """
    values = loads(text)
    if isinstance(values, dict):
        values = _in_order(values, n_records, "texts")
    if not isinstance(values, list) or len(values) != n_records:
        raise Malformed(f"the simulation is no object of {n_records} texts: {text[:80]!r}")
    return values


def activations_in(values: Any, n_tokens: int) -> FloatArray:
    """Return one record's activations, float64 (n_tokens,).

    Raises:
        Malformed: As `parse_simulation` does.
    """
    if isinstance(values, dict) and values.keys() == {"activations"}:
        values = values["activations"]
    if isinstance(values, dict):
        values = _in_order(values, n_tokens, "positions")
    if not isinstance(values, list):
        raise Malformed(f"the simulation is no object: {str(values)[:80]!r}")
    if len(values) != n_tokens:
        raise Malformed(f"the simulation has {len(values)} values for {n_tokens} tokens")
    if set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= MAX_NORMALIZED:
        return np.array(values, dtype=np.float64)
    return np.array([_value(value, place) for place, value in enumerate(values)])


def loads(text: str, what: str = "the simulation") -> Any:
    """Return what JSON says, in a code fence or without one.

    Raises:
        Malformed: It is no JSON, as `what`, or an object has a key twice.
    """
    stripped = text.strip()
    if stripped.startswith("```"):
        stripped = stripped.strip("`").removeprefix("json").strip()
    try:
        return json.loads(stripped, parse_constant=_refuse, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what} is no JSON: {text[:80]!r}") from error


def _refuse(name: str) -> None:
    raise ValueError(name)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Malformed("the answer names a key twice")
    return found


def _in_order(values: dict[str, Any], n: int, what: str) -> list[Any]:
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
