"""Documents as tokens, part by part, so that a document may be larger than memory."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tokenizers import Tokenizer

from orchestrator.corpus.pieces import cuts_between_words, pieces, whole

Text = str | Iterable[str]  # as a whole, or in parts

_AT_ONCE = 256  # pieces tokenised together, so that the tokenizer can use all cores
_CHARACTERS_AT_ONCE = 262_144  # an encoding takes some hundred bytes for each


class TokenPart(NamedTuple):
    """Some tokens of a document, which come in the order of the text."""

    document: str
    tokens: list[int]
    is_last: bool


class _Piece(NamedTuple):
    document: str
    text: str
    is_last: bool


def tokenised(documents: Iterable[tuple[str, Text]], tokenizer: Tokenizer) -> Iterator[TokenPart]:
    """Yield the tokens of documents, each in at least one part.

    Raises:
        InputError: A document cannot be cut, and is too long to be tokenised as a whole.
    """
    for batch in _batches(_pieces(documents, cuts_between_words(tokenizer))):
        # The fast one does not compute where tokens are in the text.
        encoded = tokenizer.encode_batch_fast([p.text for p in batch], add_special_tokens=False)
        for piece, encoding in zip(batch, encoded, strict=True):
            yield TokenPart(piece.document, encoding.ids, piece.is_last)


def _pieces(documents: Iterable[tuple[str, Text]], can_be_cut: bool) -> Iterator[_Piece]:
    for document, text in documents:
        parts = [text] if isinstance(text, str) else text
        cut = pieces(document, parts) if can_be_cut else iter([whole(document, parts)])
        # One piece behind, since only the end of the iterator shows which one is the last.
        latest = next(cut)
        for following in cut:
            yield _Piece(document, latest, is_last=False)
            latest = following
        yield _Piece(document, latest, is_last=True)


def _batches(all_pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    size = 0
    for piece in all_pieces:
        batch.append(piece)
        size += len(piece.text)
        if len(batch) == _AT_ONCE or size >= _CHARACTERS_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
