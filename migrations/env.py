"""Runs migrations against the given database, one migrator at a time."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

from db.tables.schema import METADATA

LOCK = 307_200  # any number, as long as every migrator uses the same

url = context.config.get_main_option("sqlalchemy.url") or os.environ["DATABASE_URL"]
engine = create_engine(url, poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=METADATA)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()
