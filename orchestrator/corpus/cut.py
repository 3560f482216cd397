"""Cut documents into excerpts: contiguous tokens that never cross a document's boundary."""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from tokenizers import Tokenizer

from neurogloss.errors import InputError

_AT_ONCE = 256  # documents tokenised together, so that the tokenizer can use all cores


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
    documents: Iterable[tuple[str, str]],
    tokenizer: Tokenizer,
    *,
    n_excerpts: int,
    n_tokens: int,
    seed: int,
    on_document: Callable[[], None] = lambda: None,
) -> CutCorpus:
    """Draw `n_excerpts` of all windows of `n_tokens` tokens, in a random order given by the seed.

    Each document is cut into consecutive windows; the rest at its end, and documents shorter than a
    window, are dropped. Only the chosen excerpts are kept in memory.

    Raises:
        InputError: The documents have fewer than `n_excerpts` windows.
    """
    # A heap of the windows of smallest hash. The hash depends on the window alone, so the choice
    # does not depend on the order of the documents.
    best: list[tuple[int, int, CutExcerpt]] = []
    n_documents = n_short = n_windows = 0
    for document, tokens in _tokenised(documents, tokenizer):
        n_documents += 1
        n_short += len(tokens) < n_tokens
        on_document()
        for position in range(0, len(tokens) - n_tokens + 1, n_tokens):
            n_windows += 1
            priority = _priority(seed, document, position)
            window = np.array(tokens[position : position + n_tokens], np.int32).tobytes()
            entry = (-priority, -n_windows, CutExcerpt(document, position, window))
            (heapq.heappush if len(best) < n_excerpts else heapq.heappushpop)(best, entry)
    if n_windows < n_excerpts:
        raise InputError(_too_small(n_excerpts, n_tokens, n_windows, n_documents))
    return CutCorpus([e for *_, e in sorted(best, reverse=True)], n_documents, n_short, n_windows)


def _too_small(n_excerpts: int, n_tokens: int, n_windows: int, n_documents: int) -> str:
    if n_documents == 0:
        return "corpus.source contains no document"
    return (
        f"corpus.excerpts = {n_excerpts} is too many: the {n_documents} documents of corpus.source "
        f"contain {n_windows} excerpts of {n_tokens} tokens"
    )


def _tokenised(
    documents: Iterable[tuple[str, str]], tokenizer: Tokenizer
) -> Iterator[tuple[str, list[int]]]:
    remaining = iter(documents)
    while batch := list(islice(remaining, _AT_ONCE)):
        encoded = tokenizer.encode_batch([t for _, t in batch], add_special_tokens=False)
        for (document, _), encoding in zip(batch, encoded, strict=True):
            yield document, encoding.ids


def _priority(seed: int, document: str, position: int) -> int:
    text = f"{seed}\0{document}\0{position}".encode("utf-8", errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
