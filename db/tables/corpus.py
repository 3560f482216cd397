"""What is read: vocabularies, corpora, excerpts."""

from datetime import datetime

from sqlalchemy import ForeignKey, Identity, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class VocabularyTable(Base):
    """A tokenizer's tokens, shared by all corpora that were cut with it."""

    __tablename__ = "vocabulary"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    n_tokens: Mapped[int]


class TokenTable(Base):
    """One token. Bytes that are no UTF-8 by themselves read as U+FFFD, and so does NUL.

    The tokens of an imported run have U+FDD0 for NUL, so that an export writes it again.
    """

    __tablename__ = "token"

    vocabulary_id: Mapped[int] = mapped_column(ForeignKey("vocabulary.id"), primary_key=True)
    token: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class CorpusTable(Base):
    """Excerpts cut from a text source, stored once and named by their content."""

    __tablename__ = "corpus"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    vocabulary_id: Mapped[int] = mapped_column(ForeignKey("vocabulary.id"))
    source: Mapped[str]
    n_excerpts: Mapped[int]
    excerpt_tokens: Mapped[int]
    n_documents: Mapped[int]
    n_documents_too_short: Mapped[int]
    n_windows: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ExcerptTable(Base):
    """Contiguous tokens of one document: `tokens` is int32 (n_tokens,)."""

    __tablename__ = "excerpt"

    corpus_id: Mapped[int] = mapped_column(ForeignKey("corpus.id"), primary_key=True)
    excerpt: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[str]
    position: Mapped[int]
    tokens: Mapped[bytes]
