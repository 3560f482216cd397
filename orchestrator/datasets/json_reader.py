"""Reading JSON from outside: every value is checked, and a wrong one is named with its path.

A missing key and null are the same. Keys that are not asked for are ignored.
"""

import json
import re
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from db.corpora import NUL
from neurogloss.errors import InputError
from neurogloss.neurons.records import FloatArray

FLOAT16_MAX = 65504.0
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NO_CHARACTERS = re.compile(f"[{NUL}\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Checked:
    """A JSON value with its place: a file, and the path in it."""

    value: Any
    file: str
    path: str = ""

    def wrong(self, expected: str) -> InputError:
        """Return the error that says what the value is, and what it should be."""
        shown = repr(self.value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return InputError(f"{self.file}: {self.path or 'the file'} is {shown}, not {expected}")

    @property
    def is_null(self) -> bool:
        return self.value is None

    def field(self, *names: str) -> "Checked":
        """Return the value of the first of these fields that is there; null if none is.

        Raises:
            InputError: The value is not an object.
        """
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        name = next((name for name in names if self.value.get(name) is not None), names[0])
        path = f"{self.path}.{name}" if self.path else name
        return Checked(self.value.get(name), self.file, path)

    def items(self) -> Iterator["Checked"]:
        """Yield the items of a list.

        Raises:
            InputError: The value is not a list.
        """
        for place, item in enumerate(self.entries()):
            yield Checked(item, self.file, f"{self.path}[{place}]")

    def entries(self) -> list[Any]:
        """Return a list with its items unchecked."""
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return self.value

    def text(self) -> str:
        """Return a text, without the characters that a database cannot hold."""
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return clean(self.value)

    def texts(self) -> list[str]:
        """Return a list of the texts of tokens, with U+FFFD for halves of characters."""
        values = self.entries()
        for place, value in enumerate(values):
            if not isinstance(value, str):
                raise Checked(value, self.file, f"{self.path}[{place}]").wrong("a text")
        if not _NO_CHARACTERS.search("".join(values)):
            return values
        return [_NO_CHARACTERS.sub("\ufffd", value) for value in values]

    def integer(self, lowest: int, highest: int) -> int:
        """Return an integer in a range; texts of digits are read as well."""
        value = self.value
        # A longer one is out of every range, and `int` refuses more than 4,300 digits.
        if isinstance(value, str) and len(value) < 12 and value.isdecimal():
            value = int(value)
        # In Python, a boolean is an integer.
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise self.wrong(f"an integer from {lowest} to {highest}")
        return value

    def number(self) -> float | None:
        """Return a finite number; None where it is null or NaN."""
        if self.value is None:
            return None
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            raise self.wrong("a number or null")
        try:
            value = float(self.value)
        except OverflowError:
            raise self.wrong("a number that a computer can hold") from None
        if np.isinf(value):
            raise self.wrong("a finite number")
        return None if np.isnan(value) else value

    def number_or_none(self) -> float | None:
        """Return a finite number; None for everything else, where that is no reason to refuse."""
        try:
            return self.number()
        except InputError:
            return None

    def numbers(self, most: float = FLOAT16_MAX) -> FloatArray:
        """Return a list of numbers as float64 (n,), with NaN for null."""
        values = self.entries()
        # By exact type, which leaves booleans out and needs no loop of Python code.
        if not set(map(type, values)) <= {int, float, type(None)}:
            raise self._first_wrong()
        try:
            numbers = np.array(values, dtype=np.float64)
        except OverflowError:
            raise self._first_wrong() from None
        if (np.abs(numbers) > most).any():
            place = int(np.argmax(np.abs(numbers) > most))
            item = Checked(values[place], self.file, f"{self.path}[{place}]")
            raise item.wrong(f"a number from {-most:g} to {most:g}")
        return numbers

    def _first_wrong(self) -> InputError:
        for item in self.items():
            try:
                item.number()
            except InputError as error:
                return error
        return self.wrong("a list of numbers")


def clean(text: str) -> str:
    """Return a text with U+FFFD for NUL and for halves of characters."""
    return _UNSTORABLE.sub("\ufffd", text)


def parse(content: bytes, file: str) -> Checked:
    """Return the JSON value of a file.

    Raises:
        InputError: The file is not JSON.
    """
    try:
        return Checked(orjson.loads(content), file)
    except ValueError as error:
        if b"NaN" not in content and b"Infinity" not in content:
            raise InputError(f"{file}: no JSON: {error}") from error
    try:
        return Checked(json.loads(content), file)  # which reads NaN, as OpenAI's code does
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: no JSON: {error}") from error


def same_length(values: Sized, item: Checked, n: int, of: str) -> None:
    """Refuse a list that is not as long as another one.

    Raises:
        InputError: Its length is not `n`, the length of `of`.
    """
    if len(values) != n:
        raise InputError(f"{item.file}: {item.path} has {len(values)} items, but {of} {n}")
