"""Shards of the one run in a database."""

from sqlalchemy import text

from db import shards

LEASE_S = 60


def first_shard(engine):
    with engine.begin() as connection:
        return connection.scalar(text("SELECT min(id) FROM shard"))


def claim(engine, worker="w", lease_s=LEASE_S):
    with engine.begin() as connection:
        return shards.claim(connection, first_shard(engine), worker, lease_s)
