"""What is read: vocabularies, corpora, excerpts."""

from datetime import datetime

from sqlalchemy import Column, ForeignKey, Identity, Named, Table, Text, TypedColumns, func

from db.tables.base import METADATA, TIMESTAMPTZ


class VocabularyColumns(TypedColumns):
    """A tokenizer's tokens, shared by all corpora that were cut with it."""

    id: Named[int] = Column(Identity(), primary_key=True)
    digest: Named[str] = Column(Text, unique=True)
    n_tokens: Named[int]


vocabulary_table = Table("vocabulary", METADATA, VocabularyColumns)


class TokenColumns(TypedColumns):
    """One token. Bytes that are no UTF-8 by themselves read as U+FFFD, and so does NUL.

    The tokens of an imported run have U+FDD0 for NUL, so that an export writes it again.
    """

    vocabulary_id: Named[int] = Column(ForeignKey("vocabulary.id"), primary_key=True)
    token: Named[int] = Column(primary_key=True)
    text: Named[str] = Column(Text)


token_table = Table("token", METADATA, TokenColumns)


class CorpusColumns(TypedColumns):
    """Excerpts cut from a text source, stored once and named by their content."""

    id: Named[int] = Column(Identity(), primary_key=True)
    digest: Named[str] = Column(Text, unique=True)
    vocabulary_id: Named[int] = Column(ForeignKey("vocabulary.id"))
    source: Named[str] = Column(Text)
    n_excerpts: Named[int]
    excerpt_tokens: Named[int]
    n_documents: Named[int]
    n_documents_too_short: Named[int]
    n_windows: Named[int]
    created_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


corpus_table = Table("corpus", METADATA, CorpusColumns)


class ExcerptColumns(TypedColumns):
    """Contiguous tokens of one document: `tokens` is int32 (n_tokens,)."""

    corpus_id: Named[int] = Column(ForeignKey("corpus.id"), primary_key=True)
    excerpt: Named[int] = Column(primary_key=True)
    document: Named[str] = Column(Text)
    position: Named[int]
    tokens: Named[bytes]


excerpt_table = Table("excerpt", METADATA, ExcerptColumns)
