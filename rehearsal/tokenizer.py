"""A made-up tokenizer, with all that makes the tokens of real ones hard to read.

Tokens, here pieces, look like those of a byte-pair encoding: words with the space before them, runs
of digits, punctuation, white space. As with real ones, a long word is several pieces, a line break
or tab may be merged with its neighbour, and a character may be split into two pieces, neither of
which is valid text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from rehearsal.seeded_random import uniform

UNKNOWN = "unknown"
_PRETOKEN = re.compile(r" ?[^\W\d_]+| ?\d{1,3}| ?[^\w\s]+| ?_+|\s+(?=\s)|\s")
_MAX_PIECE = 6  # characters
_MERGED_SHARE = 0.15  # of line breaks and tabs
_SPLIT_BYTES = 3  # characters of this many bytes and more may be split


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of a text.

    `shown` is its form in the API, where part of a character is `bytes:` and the escaped bytes.
    `content` is the text that it adds: nothing if it is the first part of a character.
    """

    shown: str
    content: str


def tokenize(text: str, seed: int) -> list[Piece]:
    """Return the pieces of a text, in order; the same text always has the same pieces.

    The word `unknown` after a tab, at which the numbers of a simulation are read, is always a piece
    of its own.
    """
    parts = _merged(_parts(text, seed), seed)
    return [piece for part in parts for piece in _shown(part, seed)]


def _parts(text: str, seed: int) -> Iterator[str]:
    for match in _PRETOKEN.finditer(text):
        pretoken = match[0]
        if pretoken == UNKNOWN or (len(pretoken) <= _MAX_PIECE and pretoken.isascii()):
            yield pretoken
            continue
        at = 1 + int(uniform(seed, "split", pretoken) * (_MAX_PIECE - 1))
        yield pretoken[:at]
        for place in range(at, len(pretoken), _MAX_PIECE):
            yield pretoken[place : place + _MAX_PIECE]


def _merged(parts: Iterable[str], seed: int) -> Iterator[str]:
    """Merge some line breaks and tabs with the part before or after them."""
    held = ""
    for left, right in pairwise([*parts, ""]):
        held += left
        # At most two parts are merged: if `held` is longer than `left`, it has two already.
        if len(held) == len(left) and _is_merged(left, right, seed):
            continue
        yield held
        held = ""


def _is_merged(left: str, right: str, seed: int) -> bool:
    if not right or right == UNKNOWN or left == UNKNOWN:
        return False
    if not (left.endswith("\n") or right.startswith(("\n", "\t"))):
        return False
    return uniform(seed, "stick", left, right) < _MERGED_SHARE


def _shown(part: str, seed: int) -> Iterator[Piece]:
    """Yield a part as one piece, or as two if it is one character of several bytes."""
    encoded = part.encode()
    if len(part) == 1 and len(encoded) >= _SPLIT_BYTES and uniform(seed, "bytes", part) < 0.5:
        yield Piece(_escaped(encoded[:2]), "")
        yield Piece(_escaped(encoded[2:]), part)
    else:
        yield Piece(part, part)


def _escaped(part: bytes) -> str:
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in part)
