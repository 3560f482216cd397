"""The excerpts and tokens of an imported run: published records have their tokens as text only.

Texts are numbered as they come, and so are excerpts. Two records of one neuron on the same text
with different activations are two excerpts, as they were where the text stands twice in the corpus.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection

from db import corpora
from db.bulk import upsert
from db.datasets import stream_excerpts
from db.tables import ExcerptTable, TokenTable
from db.tables.base import table_of
from orchestrator.datasets.json_reader import clean

Digest = bytes
NOWHERE = -1  # the position of an excerpt in a document that nobody names


class ImportedCorpus:
    """Numbers tokens and excerpts, and stores those that are new."""

    def __init__(self, corpus_id: int, vocabulary_id: int, excerpt_tokens: int) -> None:
        self.corpus_id = corpus_id
        self.vocabulary_id = vocabulary_id
        self.excerpt_tokens = excerpt_tokens
        self._tokens: dict[str, list[int]] = {}
        self._n_tokens = 0
        self._excerpts: dict[Digest, list[int]] = {}
        self._n_excerpts = 0
        self._new_tokens: list[tuple[Any, ...]] = []
        self._new_excerpts: list[tuple[Any, ...]] = []

    def load(self, connection: Connection) -> None:
        """Take over what was stored before."""
        texts = corpora.token_texts(connection, self.vocabulary_id)
        for number, text in enumerate(texts):
            self._tokens.setdefault(text, []).append(number)
        self._n_tokens = len(texts)
        for row in stream_excerpts(connection, self.corpus_id):
            digest = _digest([texts[token] for token in row.tokens.tolist()])
            self._excerpts.setdefault(digest, []).append(row.excerpt)
            self._n_excerpts += 1

    @property
    def n_excerpts(self) -> int:
        return self._n_excerpts

    def excerpt(self, tokens: Sequence[str], copy: int) -> int:
        """Return the number of the excerpt with these tokens, or of its copy 1, 2, .."""
        numbers = self._excerpts.setdefault(_digest(tokens), [])
        while len(numbers) <= copy:
            numbers.append(self._n_excerpts)
            ids = np.array(self.tokens(tokens), np.int32).tobytes()
            row = (self.corpus_id, self._n_excerpts, "", NOWHERE, ids)
            self._new_excerpts.append(row)
            self._n_excerpts += 1
        return numbers[copy]

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the numbers of tokens."""
        return [self._token(text, 0) for text in texts]

    def tokens_apart(self, texts: Sequence[str]) -> list[int]:
        """Return the numbers of distinct tokens: parts of characters all read as U+FFFD."""
        copies: Counter[str] = Counter()
        numbers = []
        for text in texts:
            numbers.append(self._token(text, copies[text]))
            copies[text] += 1
        return numbers

    def _token(self, text: str, copy: int) -> int:
        numbers = self._tokens.setdefault(text, [])
        while len(numbers) <= copy:
            numbers.append(self._n_tokens)
            self._new_tokens.append((self.vocabulary_id, self._n_tokens, clean(text)))
            self._n_tokens += 1
        return numbers[copy]

    def save(self, connection: Connection) -> None:
        """Store what is new."""
        columns = ("vocabulary_id", "token", "text")
        upsert(connection, table_of(TokenTable), columns, self._new_tokens)
        upsert(connection, table_of(ExcerptTable), corpora.EXCERPT_COLUMNS, self._new_excerpts)
        self._new_tokens, self._new_excerpts = [], []


def _digest(tokens: Sequence[str]) -> Digest:
    return hashlib.blake2b("\0".join(tokens).encode(), digest_size=16).digest()
