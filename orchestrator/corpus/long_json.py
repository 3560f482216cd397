"""The text of an object of JSON that is too long to be in memory, read part by part."""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator

FIELD = "text"
# A key is held as a whole: without a limit, one that does not end would fill the memory.
_MAX_KEY = 100_000  # characters
_LONGEST_ESCAPE = 6  # as in \u00e9
_SPACE = re.compile(r"[ \t\r\n]*")
_ATOMS = re.compile(r'[^"{}\[\],]*')  # numbers, words, and what stands between values
_STRING = re.compile(r'(?:[^"\\\x00-\x1f]|\\u[0-9a-fA-F]{4}|\\["\\/bfnrt])*')


def text_of(parts: Iterable[str]) -> Iterator[str]:
    """Yield the field "text" of an object of JSON in parts; what comes after it is not looked at.

    Raises:
        ValueError: This is no object of JSON with a string of this name.
    """
    read = _Reader(parts)
    read.expect("{")
    while True:
        read.expect('"')
        key = _key(read)
        read.expect(":")
        if key == FIELD:
            read.expect('"')
            yield from read.string()
            return
        _skip_value(read)
        read.expect(",")


def _key(read: "_Reader") -> str:
    key = ""
    for part in read.string():
        key += part
        if len(key) > _MAX_KEY:
            raise ValueError("a key is too long")
    return key


def _skip_value(read: "_Reader") -> None:
    depth = 0
    while True:
        read.skip(_ATOMS)
        following = read.following()
        if depth == 0 and following in ",}]":
            return
        read.expect(following)
        if following == '"':
            deque(read.string(), maxlen=0)
        depth += (following in "{[") - (following in "}]")


class _Reader:
    """Takes characters from the beginning of parts that make a text together."""

    def __init__(self, parts: Iterable[str]) -> None:
        self._parts = iter(parts)
        self._held = ""

    def following(self) -> str:
        """Return the next character.

        Raises:
            ValueError: There is none.
        """
        while not self._held:
            self._read_more()
        return self._held[0]

    def skip(self, pattern: re.Pattern[str]) -> None:
        """Leave out all characters that a pattern of single characters matches."""
        while True:
            self.following()
            found = pattern.match(self._held)
            self._held = self._held[found.end() if found else 0 :]
            if self._held:
                return

    def expect(self, character: str) -> None:
        """Take a character, and white space before it.

        Raises:
            ValueError: Another one comes.
        """
        self.skip(_SPACE)
        if self.following() != character:
            raise ValueError(f"expected {character}")
        self._held = self._held[1:]

    def string(self) -> Iterator[str]:
        """Yield a string whose opening quote was taken, and take its closing quote.

        Raises:
            ValueError: It does not end, or has an escape that JSON does not know.
        """
        half = ""  # of a surrogate pair, the other half of which may be in the next part
        while True:
            found = _STRING.match(self._held)
            end = found.end() if found else 0
            text = _joined(half + json.loads(f'"{self._held[:end]}"'))
            half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
            self._held = self._held[end:]
            is_last = self._held.startswith('"')
            yield text if is_last else text.removesuffix(half)
            if is_last:
                self._held = self._held[1:]
                return
            if len(self._held) >= _LONGEST_ESCAPE:
                raise ValueError("no escape of JSON")
            self._read_more()

    def _read_more(self) -> None:
        part = next(self._parts, None)
        if part is None:
            raise ValueError("it ends before its end")
        self._held += part


def _joined(text: str) -> str:
    """Return text whose surrogate pairs, which may have come in halves, are characters."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
