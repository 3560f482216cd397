"""A made-up tokenizer that is no kinder to its readers than real ones are.

Pieces come in the shapes of a byte-pair encoding: words with the space before them, runs of digits
and of marks, white space. As in real ones, a long word falls into several pieces, a line break or a
tab may stick to a neighbour, and a character may lie in two pieces, neither of which is text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from rehearsal.seeded_random import uniform

UNKNOWN = "unknown"
_PRETOKEN = re.compile(r" ?[^\W\d_]+| ?\d{1,3}| ?[^\w\s]+| ?_+|\s+(?=\s)|\s")
_LONGEST_PIECE = 6
_MERGED_SHARE = 0.15
_SPLIT_BYTES = 3  # characters of so many bytes and more may lie in two pieces


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of a text.

    `shown` is how an API shows it: a part of a character reads `bytes:` and its escaped bytes.
    `content` is what it adds to the text: nothing, if it is the first part of a character.
    """

    shown: str
    content: str


def cut(text: str, seed: int) -> list[Piece]:
    """Return the pieces of a text, in order; the same text has the same ones always.

    The word `unknown` after a tab, on which the numbers of a simulation are read, is always a piece
    of its own, and so is the tab before it or what that tab sticks to.
    """
    parts = _merged(_parts(text, seed), seed)
    return [piece for part in parts for piece in _shown(part, seed)]


def _parts(text: str, seed: int) -> Iterator[str]:
    for match in _PRETOKEN.finditer(text):
        pretoken = match[0]
        if pretoken == UNKNOWN or (len(pretoken) <= _LONGEST_PIECE and pretoken.isascii()):
            yield pretoken
            continue
        at = 1 + int(uniform(seed, "split", pretoken) * (_LONGEST_PIECE - 1))
        yield pretoken[:at]
        for place in range(at, len(pretoken), _LONGEST_PIECE):
            yield pretoken[place : place + _LONGEST_PIECE]


def _merged(parts: Iterable[str], seed: int) -> Iterator[str]:
    """Stick line breaks and tabs to what stands before or after them, now and then."""
    held = ""
    for left, right in pairwise([*parts, ""]):
        held += left
        if len(held) == len(left) and _stick(left, right, seed):
            continue
        yield held
        held = ""


def _stick(left: str, right: str, seed: int) -> bool:
    if not right or right == UNKNOWN or left == UNKNOWN:
        return False
    if not (left.endswith("\n") or right.startswith(("\n", "\t"))):
        return False
    return uniform(seed, "stick", left, right) < _MERGED_SHARE


def _shown(part: str, seed: int) -> Iterator[Piece]:
    """Yield a part whole, or in two where it is one character of several bytes."""
    encoded = part.encode()
    if len(part) == 1 and len(encoded) >= _SPLIT_BYTES and uniform(seed, "bytes", part) < 0.5:
        yield Piece(_escaped(encoded[:2]), "")
        yield Piece(_escaped(encoded[2:]), part)
    else:
        yield Piece(part, part)


def _escaped(part: bytes) -> str:
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in part)
