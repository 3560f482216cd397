"""Cursors of lists that are read a page at a time: where a page ends, in a form for a URL."""

import base64
import binascii
import json
import math
from dataclasses import dataclass
from typing import Self

LONGEST = 500  # characters; a cursor comes from a URL, where anybody may have written it
_MOST = 2**31 - 1  # in the columns that are integers

Key = tuple[float | int, ...]


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: behind the row of this key, or before it if `backwards`.

    The key ends with the layer and the neuron; a number that the list is sorted by comes first.
    """

    key: Key
    backwards: bool

    def __str__(self) -> str:
        packed = json.dumps([self.backwards, *self.key]).encode()
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    @classmethod
    def read(cls, written: str, n_keys: int) -> Self:
        """Return a cursor from its form for a URL.

        Raises:
            ValueError: It is not a cursor of a list whose keys have so many columns.
        """
        try:
            padded = written[:LONGEST] + "=" * (-len(written[:LONGEST]) % 4)
            backwards, *key = json.loads(base64.urlsafe_b64decode(padded))
        except (ValueError, TypeError, binascii.Error, RecursionError) as error:
            raise ValueError("not a cursor") from error
        if len(key) != n_keys or not isinstance(backwards, bool) or not _is_key(key):
            raise ValueError("a cursor of another list")
        return cls(tuple(key), backwards)


def _is_key(key: list[object]) -> bool:
    *numbers, layer, neuron = key
    return all(type(place) is int and 0 <= place <= _MOST for place in (layer, neuron)) and all(
        type(number) in (int, float) and math.isfinite(number)  # type: ignore[arg-type]
        for number in numbers
    )
