"""Vocabularies, corpora and their excerpts."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select

from db.bulk import upsert
from db.codec import INT32
from db.tables import CorpusTable, ExcerptTable, RunTable, TokenTable, VocabularyTable
from db.tables.base import table_of
from neurogloss.neurons.records import IntArray

NUL = "\ufdd0"  # what stands for NUL, which Postgres cannot hold: a noncharacter, for such use
IMPORTED = "imported:"  # the beginning of the digests of corpora that were not cut
EXCERPT_COLUMNS = ("corpus_id", "excerpt", "document", "position", "tokens")


@dataclass(frozen=True, slots=True)
class NewCorpus:
    """A corpus that is to be stored; see `db.tables.CorpusTable`."""

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
    """A corpus as it is stored; see `db.tables.CorpusTable`."""

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
    stored = connection.scalar(select(VocabularyTable.id).where(VocabularyTable.digest == digest))
    if stored is not None:
        return int(stored)
    values = {"digest": digest, "n_tokens": len(texts)}
    statement = insert(VocabularyTable).values(values).returning(VocabularyTable.id)
    vocabulary_id = int(connection.execute(statement).scalar_one())
    rows = ((vocabulary_id, token, value) for token, value in enumerate(texts))
    upsert(connection, table_of(TokenTable), ("vocabulary_id", "token", "text"), rows)
    return vocabulary_id


def save_corpus(
    connection: Connection, corpus: NewCorpus, excerpts: Iterable[tuple[str, int, bytes]]
) -> int:
    """Store excerpts (document, position, tokens), unless they are stored; return the corpus id."""
    stored = connection.scalar(select(CorpusTable.id).where(CorpusTable.digest == corpus.digest))
    if stored is not None:
        return int(stored)
    statement = insert(CorpusTable).values(**asdict(corpus)).returning(CorpusTable.id)
    corpus_id = int(connection.execute(statement).scalar_one())
    rows = ((corpus_id, number, *excerpt) for number, excerpt in enumerate(excerpts))
    upsert(connection, table_of(ExcerptTable), EXCERPT_COLUMNS, rows)
    return corpus_id


def excerpts_between(
    connection: Connection, corpus_id: int, start: int, stop: int
) -> list[IntArray]:
    """Return the tokens, int32 (n_tokens,), of each of a range of excerpts, in order."""
    query = (
        select(ExcerptTable.tokens)
        .where(ExcerptTable.corpus_id == corpus_id)
        .where(ExcerptTable.excerpt >= start, ExcerptTable.excerpt < stop)
        .order_by(ExcerptTable.excerpt)
    )
    return [INT32.unpack(tokens) for tokens in connection.scalars(query)]


def n_tokens(connection: Connection, corpus_id: int) -> int:
    """Return how many tokens all excerpts of a corpus have."""
    # From the sizes alone: the arrays need not be sent.
    sizes = func.sum(func.octet_length(ExcerptTable.tokens))
    size = connection.scalar(select(sizes).where(ExcerptTable.corpus_id == corpus_id))
    return int(size or 0) // np.dtype(np.int32).itemsize


def lengths(connection: Connection, corpus_id: int) -> IntArray:
    """Return how many tokens each excerpt of a corpus has, int32 (n_excerpts,), in order."""
    query = (
        select(func.octet_length(ExcerptTable.tokens))
        .where(ExcerptTable.corpus_id == corpus_id)
        .order_by(ExcerptTable.excerpt)
    )
    sizes = np.fromiter(connection.scalars(query), np.int32)
    return np.asarray(sizes // np.dtype(np.int32).itemsize)


def excerpts_named(
    connection: Connection, corpus_id: int, numbers: Sequence[int]
) -> dict[int, IntArray]:
    """Return the tokens, int32 (n_tokens,), of these excerpts, by number."""
    query = select(ExcerptTable.excerpt, ExcerptTable.tokens).where(
        ExcerptTable.corpus_id == corpus_id, ExcerptTable.excerpt == func.any(list(numbers))
    )
    return {number: INT32.unpack(tokens) for number, tokens in connection.execute(query)}


def get(connection: Connection, corpus_id: int) -> StoredCorpus:
    """Return a corpus."""
    columns = (table_of(CorpusTable).c[field.name] for field in fields(StoredCorpus))
    query = select(*columns).where(CorpusTable.id == corpus_id)
    return StoredCorpus(*connection.execute(query).one())


def token_texts(connection: Connection, vocabulary_id: int, nul: str = "\ufffd") -> list[str]:
    """Return the text of every token of a vocabulary, by token, with `nul` in place of NUL."""
    query = (
        select(TokenTable.text)
        .where(TokenTable.vocabulary_id == vocabulary_id)
        .order_by(TokenTable.token)
    )
    return [text.replace(NUL, nul) for text in connection.scalars(query)]


def delete_unused(connection: Connection, corpus_id: int) -> bool:
    """Delete a corpus that no run has, and a vocabulary that no corpus has; return if it was."""
    if connection.scalar(select(func.count()).where(RunTable.corpus_id == corpus_id)):
        return False
    vocabulary_id = get(connection, corpus_id).vocabulary_id
    connection.execute(delete(ExcerptTable).where(ExcerptTable.corpus_id == corpus_id))
    connection.execute(delete(CorpusTable).where(CorpusTable.id == corpus_id))
    of_others = select(func.count()).where(CorpusTable.vocabulary_id == vocabulary_id)
    if not connection.scalar(of_others):
        connection.execute(delete(TokenTable).where(TokenTable.vocabulary_id == vocabulary_id))
        connection.execute(delete(VocabularyTable).where(VocabularyTable.id == vocabulary_id))
    return True
