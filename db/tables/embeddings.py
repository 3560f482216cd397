"""Embeddings of explanations, for searches by meaning."""

from datetime import datetime

from sqlalchemy import BigInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, run_key


class RunEmbeddingTable(Base):
    """The model that embeds a run's explanations, and what that has cost.

    `api_key_env` names the variable that holds the key. The vectors are in a table that needs
    pgvector, which `neurogloss embed` makes: see `db.embeddings`.
    """

    __tablename__ = "run_embedding"

    run_id: Mapped[int] = run_key()
    base_url: Mapped[str]
    api_key_env: Mapped[str | None]
    model: Mapped[str]
    dimensions: Mapped[int]
    tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    usd: Mapped[float] = mapped_column(server_default="0")
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
