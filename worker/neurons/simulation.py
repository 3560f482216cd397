"""Reading a simulator's answer. What cannot be read is an error, never a zero."""

import json
from functools import cache
from typing import Any

import numpy as np

from worker.errors import Malformed
from worker.neurons.records import MAX_NORMALIZED, FloatArray


def parse_simulation(text: str, n_tokens: int) -> FloatArray:
    """Return the simulated activations, float64 of shape (n_tokens,), from 0 to 10.

    Takes the object that was asked for, keyed by position, or a list of the right length.

    Raises:
        Malformed: It is neither, or a value is missing, of another type, or out of range.
    """
    values = _loads(text)
    if isinstance(values, dict) and values.keys() == {"activations"}:
        values = values["activations"]
    if isinstance(values, dict):
        values = _in_order(values, n_tokens)
    if not isinstance(values, list):
        raise Malformed(f"the simulation is no object: {text[:80]!r}")
    if len(values) != n_tokens:
        raise Malformed(f"the simulation has {len(values)} values for {n_tokens} tokens")
    if set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= MAX_NORMALIZED:
        return np.array(values, dtype=np.float64)
    return np.array([_value(value, place) for place, value in enumerate(values)])


def _loads(text: str) -> Any:
    stripped = text.strip()
    if stripped.startswith("```"):
        stripped = stripped.strip("`").removeprefix("json").strip()
    try:
        return json.loads(stripped, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the simulation is no JSON: {text[:80]!r}") from error


def _refuse(name: str) -> None:
    raise ValueError(name)


def _in_order(values: dict[str, Any], n_tokens: int) -> list[Any]:
    keys = _keys(n_tokens)
    if list(values) == keys:
        return list(values.values())
    missing = [key for key in keys if key not in values]
    unknown = [key for key in values if key not in set(keys)]
    if missing:
        raise Malformed(f"the simulation lacks {len(missing)} positions, first {missing[0]}")
    if unknown:
        raise Malformed(f"the simulation has a position that was not asked: {unknown[0][:20]!r}")
    return [values[key] for key in keys]


@cache
def _keys(n_tokens: int) -> list[str]:
    return [str(number) for number in range(n_tokens)]


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
