"""The excerpts and tokens of an imported run.

Published records have tokens as text only, without ids or positions, so tokens and excerpts are
numbered in the order in which they are read. Two records of one neuron with the same text but
different activations are two excerpts: the text occurred twice in the corpus, in two contexts.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection

from db import corpora
from db.bulk import upsert
from db.datasets import stream_excerpts
from db.tables.corpus import excerpt_table, token_table

Digest = bytes
NOWHERE = -1  # the position of an excerpt whose document is not published


class ImportedCorpus:
    """Assigns numbers to tokens and excerpts, and stores those that are new."""

    def __init__(self, corpus_id: int, vocabulary_id: int) -> None:
        self.corpus_id = corpus_id
        self.vocabulary_id = vocabulary_id
        self._tokens: dict[str, list[int]] = {}
        self._n_tokens = 0
        self._excerpts: dict[Digest, list[int]] = {}
        self._n_excerpts = 0
        self._new_tokens: list[tuple[Any, ...]] = []
        self._new_excerpts: list[tuple[Any, ...]] = []

    def load(self, connection: Connection) -> None:
        """Load the tokens and excerpts that an interrupted import has stored."""
        # With NUL as it was published, or a continued import would number the token again.
        texts = corpora.token_texts(connection, self.vocabulary_id, nul="\0")
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
        """Return the number of copy 0, 1, .. of the excerpt with these tokens; create it if new."""
        numbers = self._excerpts.setdefault(_digest(tokens), [])
        while len(numbers) <= copy:
            numbers.append(self._n_excerpts)
            ids = np.array(self.tokens(tokens), np.int32).tobytes()
            row = (self.corpus_id, self._n_excerpts, "", NOWHERE, ids)
            self._new_excerpts.append(row)
            self._n_excerpts += 1
        return numbers[copy]

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of each token; equal texts have the same number."""
        return [self._token(text, 0) for text in texts]

    def tokens_apart(self, texts: Sequence[str]) -> list[int]:
        """Return the numbers of tokens that are known to be distinct, even if their texts are not.

        Tokens that are parts of a UTF-8 character all decode to U+FFFD.
        """
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
            self._new_tokens.append(
                (self.vocabulary_id, self._n_tokens, text.replace("\0", corpora.NUL))
            )
            self._n_tokens += 1
        return numbers[copy]

    def save(self, connection: Connection) -> None:
        """Store the tokens and excerpts created since the last call."""
        columns = ("vocabulary_id", "token", "text")
        upsert(connection, token_table, columns, self._new_tokens)
        upsert(connection, excerpt_table, corpora.EXCERPT_COLUMNS, self._new_excerpts)
        self._new_tokens, self._new_excerpts = [], []


def _digest(tokens: Sequence[str]) -> Digest:
    # 16 bytes in place of an excerpt, all of which stay in memory. JSON keeps tokens apart: ["ab"]
    # and ["a", "b"] are different excerpts.
    return hashlib.blake2b(orjson.dumps(tokens), digest_size=16).digest()
