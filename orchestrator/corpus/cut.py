"""Cut documents into excerpts: contiguous tokens that never cross a document's boundary."""

import hashlib
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from neurogloss.errors import InputError
from orchestrator.corpus.tokenised import Text, tokenised


@dataclass(frozen=True, slots=True)
class CutExcerpt:
    """The tokens of one document from token `position` on, as the bytes of an int32 array."""

    document: str
    position: int
    tokens: bytes


@dataclass(frozen=True, slots=True)
class CutCorpus:
    """Excerpts in the order in which a run numbers them, and counts of what they were cut from."""

    excerpts: list[CutExcerpt]
    n_documents: int
    n_documents_too_short: int
    n_windows: int

    @property
    def digest(self) -> str:
        """SHA-256 of all excerpts: runs with the same excerpts share one stored corpus."""
        sha256 = hashlib.sha256()
        for excerpt in self.excerpts:
            sha256.update(f"{excerpt.document}\0{excerpt.position}\0".encode())
            sha256.update(excerpt.tokens)
        return sha256.hexdigest()


def cut_excerpts(
    documents: Iterable[tuple[str, Text]],
    tokenizer: Tokenizer,
    *,
    n_excerpts: int,
    n_tokens: int,
    seed: int,
    keep_short: bool = False,
    begin: int | None = None,
    on_document: Callable[[], None] = lambda: None,
) -> CutCorpus:
    """Draw `n_excerpts` of all windows of `n_tokens` tokens, in a random order given by the seed.

    Each document, with the token `begin` before it if given, is cut into consecutive windows; the
    rest at its end is dropped. A document shorter than a window is dropped too, or one window with
    `keep_short`. Only the chosen excerpts, and a part of a document, are in memory.

    Raises:
        InputError: The documents have fewer than `n_excerpts` windows, or cannot be read.
    """
    drawn = _Draw(n_excerpts, seed)
    n_documents = n_short = position = 0
    held: list[int] = []  # tokens of the document from `position` on
    for document, tokens, is_last in tokenised(documents, tokenizer):
        if begin is not None and tokens and not held and position == 0:
            held = [begin]
        held += tokens
        n_whole = len(held) // n_tokens * n_tokens
        for start in range(0, n_whole, n_tokens):
            drawn.offer(document, position + start, held[start : start + n_tokens])
        held, position = held[n_whole:], position + n_whole
        if is_last:
            is_short = position == 0
            if is_short and keep_short and held:
                drawn.offer(document, 0, held)
                is_short = False
            n_documents, n_short = n_documents + 1, n_short + is_short
            held, position = [], 0
            on_document()
    if drawn.n_offered < n_excerpts:
        raise InputError(_too_small(n_excerpts, n_tokens, drawn.n_offered, n_documents))
    return CutCorpus(drawn.in_order(), n_documents, n_short, drawn.n_offered)


class _Draw:
    """The windows of smallest hash.

    The hash depends on the window alone, so the choice does not depend on the order of documents.
    """

    def __init__(self, n_excerpts: int, seed: int) -> None:
        self._n_excerpts, self._seed = n_excerpts, seed
        self._best: list[tuple[int, int, CutExcerpt]] = []  # a heap
        self.n_offered = 0

    def offer(self, document: str, position: int, tokens: list[int]) -> None:
        self.n_offered += 1
        priority = _priority(self._seed, document, position)
        window = np.array(tokens, np.int32).tobytes()
        # Negated, so that the heap gives up the window of the largest hash. The number of the
        # window decides between equals, since excerpts cannot be compared.
        entry = (-priority, -self.n_offered, CutExcerpt(document, position, window))
        is_full = len(self._best) == self._n_excerpts
        (heapq.heappushpop if is_full else heapq.heappush)(self._best, entry)

    def in_order(self) -> list[CutExcerpt]:
        return [excerpt for *_, excerpt in sorted(self._best, reverse=True)]


def _too_small(n_excerpts: int, n_tokens: int, n_windows: int, n_documents: int) -> str:
    if n_documents == 0:
        return "corpus.source contains no document"
    return (
        f"corpus.excerpts = {n_excerpts} is too many: the {n_documents} documents of corpus.source "
        f"contain {n_windows} excerpts of {n_tokens} tokens"
    )


def _priority(seed: int, document: str, position: int) -> int:
    # Not `hash`, whose result differs from process to process.
    text = f"{seed}\0{document}\0{position}".encode("utf-8", errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
