"""Vocabularies, corpora and their excerpts."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select

from db.bulk import upsert
from db.codec import INT32
from db.tables.corpus import corpus_table, excerpt_table, token_table, vocabulary_table
from db.tables.runs import run_table
from neurogloss.neurons.records import IntArray

NUL = "\ufdd0"  # what stands for NUL, which Postgres cannot hold: a noncharacter, for such use
IMPORTED = "imported:"  # the beginning of the digests of corpora that were not cut
EXCERPT_COLUMNS = ("corpus_id", "excerpt", "document", "position", "tokens")


@dataclass(frozen=True, slots=True)
class NewCorpus:
    """A corpus that is to be stored; see `db.tables.corpus.CorpusColumns`."""

    digest: str
    vocabulary_id: int
    source: str
    n_excerpts: int
    excerpt_tokens: int
    n_documents: int
    n_documents_too_short: int
    n_windows: int


@dataclass(frozen=True, slots=True)
class StoredCorpus:
    """A corpus as it is stored; see `db.tables.corpus.CorpusColumns`."""

    id: int
    digest: str
    vocabulary_id: int
    source: str
    n_excerpts: int
    excerpt_tokens: int
    n_documents: int
    n_documents_too_short: int
    n_windows: int
    created_at: datetime

    @property
    def is_imported(self) -> bool:
        """Whether it was read from a published dataset, whose excerpts are of any length."""
        return self.digest.startswith(IMPORTED)


def save_vocabulary(connection: Connection, digest: str, texts: Sequence[str]) -> int:
    """Store a tokenizer's tokens, unless they are stored, and return the vocabulary's id."""
    stored = connection.scalar(
        select(vocabulary_table.c.id).where(vocabulary_table.c.digest == digest)
    )
    if stored is not None:
        return int(stored)
    values = {"digest": digest, "n_tokens": len(texts)}
    statement = insert(vocabulary_table).values(values).returning(vocabulary_table.c.id)
    vocabulary_id = int(connection.execute(statement).scalar_one())
    rows = ((vocabulary_id, token, value) for token, value in enumerate(texts))
    upsert(connection, token_table, ("vocabulary_id", "token", "text"), rows)
    return vocabulary_id


def save_corpus(
    connection: Connection, corpus: NewCorpus, excerpts: Iterable[tuple[str, int, bytes]]
) -> int:
    """Store excerpts (document, position, tokens), unless they are stored; return the corpus id."""
    stored = connection.scalar(
        select(corpus_table.c.id).where(corpus_table.c.digest == corpus.digest)
    )
    if stored is not None:
        return int(stored)
    statement = insert(corpus_table).values(**asdict(corpus)).returning(corpus_table.c.id)
    corpus_id = int(connection.execute(statement).scalar_one())
    rows = ((corpus_id, number, *excerpt) for number, excerpt in enumerate(excerpts))
    upsert(connection, excerpt_table, EXCERPT_COLUMNS, rows)
    return corpus_id


def excerpts_between(
    connection: Connection, corpus_id: int, start: int, stop: int
) -> list[IntArray]:
    """Return the tokens, int32 (n_tokens,), of each of a range of excerpts, in order."""
    query = (
        select(excerpt_table.c.tokens)
        .where(excerpt_table.c.corpus_id == corpus_id)
        .where(excerpt_table.c.excerpt >= start, excerpt_table.c.excerpt < stop)
        .order_by(excerpt_table.c.excerpt)
    )
    return [INT32.unpack(tokens) for tokens in connection.scalars(query)]


def n_tokens(connection: Connection, corpus_id: int) -> int:
    """Return how many tokens all excerpts of a corpus have."""
    # From the sizes alone: the arrays need not be sent.
    sizes = func.sum(func.octet_length(excerpt_table.c.tokens))
    size = connection.scalar(select(sizes).where(excerpt_table.c.corpus_id == corpus_id))
    return int(size or 0) // np.dtype(np.int32).itemsize


def lengths(connection: Connection, corpus_id: int) -> IntArray:
    """Return how many tokens each excerpt of a corpus has, int32 (n_excerpts,), in order."""
    query = (
        select(func.octet_length(excerpt_table.c.tokens))
        .where(excerpt_table.c.corpus_id == corpus_id)
        .order_by(excerpt_table.c.excerpt)
    )
    sizes = np.fromiter(connection.scalars(query), np.int32)
    return np.asarray(sizes // np.dtype(np.int32).itemsize)


def excerpts_named(
    connection: Connection, corpus_id: int, numbers: Sequence[int]
) -> dict[int, IntArray]:
    """Return the tokens, int32 (n_tokens,), of these excerpts, by number."""
    query = select(excerpt_table.c.excerpt, excerpt_table.c.tokens).where(
        excerpt_table.c.corpus_id == corpus_id, excerpt_table.c.excerpt == func.any(list(numbers))
    )
    return {number: INT32.unpack(tokens) for number, tokens in connection.execute(query)}


def get(connection: Connection, corpus_id: int) -> StoredCorpus:
    """Return a corpus."""
    columns = (corpus_table.c[field.name] for field in fields(StoredCorpus))
    query = select(*columns).where(corpus_table.c.id == corpus_id)
    return StoredCorpus(*connection.execute(query).one())


def token_texts(connection: Connection, vocabulary_id: int, nul: str = "\ufffd") -> list[str]:
    """Return the text of every token of a vocabulary, by token, with `nul` in place of NUL."""
    query = (
        select(token_table.c.text)
        .where(token_table.c.vocabulary_id == vocabulary_id)
        .order_by(token_table.c.token)
    )
    return [text.replace(NUL, nul) for text in connection.scalars(query)]


def delete_unused(connection: Connection, corpus_id: int) -> bool:
    """Delete a corpus that no run has, and a vocabulary that no corpus has; return if it was."""
    if connection.scalar(select(func.count()).where(run_table.c.corpus_id == corpus_id)):
        return False
    vocabulary_id = get(connection, corpus_id).vocabulary_id
    connection.execute(delete(excerpt_table).where(excerpt_table.c.corpus_id == corpus_id))
    connection.execute(delete(corpus_table).where(corpus_table.c.id == corpus_id))
    of_others = select(func.count()).where(corpus_table.c.vocabulary_id == vocabulary_id)
    if not connection.scalar(of_others):
        connection.execute(delete(token_table).where(token_table.c.vocabulary_id == vocabulary_id))
        connection.execute(delete(vocabulary_table).where(vocabulary_table.c.id == vocabulary_id))
    return True
