"""Embeddings of explanations, for searches by meaning."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Double, Named, Table, Text, TypedColumns, func

from db.tables.base import METADATA, TIMESTAMPTZ, run_key


class RunEmbeddingColumns(TypedColumns):
    """The model that embeds a run's explanations, and what that has cost.

    `api_key_env` names the variable that holds the key. The vectors are in a table that needs
    pgvector, which `neurogloss embed` makes: see `db.embeddings`.
    """

    run_id: Named[int] = run_key()
    base_url: Named[str] = Column(Text)
    api_key_env: Named[str | None] = Column(Text)
    model: Named[str] = Column(Text)
    dimensions: Named[int]
    tokens: Named[int] = Column(BigInteger, server_default="0")
    usd: Named[float] = Column(Double, server_default="0")
    updated_at: Named[datetime] = Column(TIMESTAMPTZ, server_default=func.now())


run_embedding_table = Table("run_embedding", METADATA, RunEmbeddingColumns)
