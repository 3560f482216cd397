"""Cuts a text of any length into pieces whose tokens, put together, are those of the whole.

GPT-2's tokenizer first splits a text into words, by a pattern that looks at kinds of characters:

    's|'t|'re|'ve|'m|'ll|'d| ?letters| ?digits| ?others|whitespace

No word holds a letter or a digit before a sign of another kind, or anything before whitespace. So
a text can be cut there: each part is split into the same words as in the whole.
"""

import re
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from neurogloss.errors import InputError

PIECE = 16_384  # characters
MAX_UNCUT = 1_000_000  # characters of a text without a place to cut
MAX_WHOLE = 8_000_000  # characters of a text for another tokenizer, 200 bytes of memory for each
_NEAR = 512  # characters in which a place is looked for first

# Left and right of a cut. `[^\W_]` is a letter or a digit, `\S` no whitespace.
_CUT = re.compile(
    r"(?<=\S)(?=[ \n])"
    r"|(?<=[^\W_])(?=[.,;:!?()/\u3001\u3002\uff0c\uff01\uff1f])"
    r"|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])"
)


def cuts_between_words(tokenizer: Tokenizer) -> bool:
    """Return whether a tokenizer splits texts as GPT-2's does, so that they can be cut."""
    splits = tokenizer.pre_tokenizer
    if not isinstance(splits, ByteLevel) or not splits.use_regex or splits.add_prefix_space:
        return False
    # Tokens that were added are found before all else; none may reach over a cut, or look beyond.
    return tokenizer.normalizer is None and not any(
        token.rstrip or token.single_word or _CUT.search(token.content)
        for token in tokenizer.get_added_tokens_decoder().values()
    )


def pieces(document: str, parts: Iterable[str], size: int = PIECE) -> Iterator[str]:
    """Yield the text that the parts make together in pieces of about a size, cut between words.

    Raises:
        InputError: There is no place to cut.
    """
    held = ""
    for part in parts:
        held += part
        start = 0
        while len(held) - start > size and (end := _end_of_piece(held, start, size)) is not None:
            yield held[start:end]
            start = end
        held = held[start:]
        if len(held) > MAX_UNCUT:
            raise InputError(
                f"corpus.source: {document} has {MAX_UNCUT:,} characters without a space or a "
                "stop, which no text has: leave it out, or break it into lines"
            )
    yield held


def whole(document: str, parts: Iterable[str]) -> str:
    """Return the text that the parts make together.

    Raises:
        InputError: It is too long to be tokenised as a whole.
    """
    text = ""
    for part in parts:
        text += part
        if len(text) > MAX_WHOLE:
            raise InputError(
                f"corpus.source: {document} has more than {MAX_WHOLE:,} characters, and the "
                "tokenizer of subject.model is not one of GPT-2's kind, for which a text can be "
                "cut: split the document"
            )
    return text


def _end_of_piece(text: str, start: int, size: int) -> int | None:
    """Return the last place to cut in a piece, else the next one; None if there is none."""
    limit = start + size
    for first in (max(start + 1, limit - _NEAR), start + 1):
        places = [found.start() for found in _CUT.finditer(text, first, limit)]
        if places:
            return places[-1]
    later = _CUT.search(text, limit)
    return later.start() if later else None
