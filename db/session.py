"""Engines and transactions."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine


def make_engine(url: str, pool_size: int = 2) -> Engine:
    """Return an engine that notices connections lost while idle.

    `pool_size` is small because every process of every container has a pool of its own, and the
    server counts them all.
    """
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=8,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "client_encoding": "utf8"},
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that commits at the end of the block, or rolls back if it raises."""
    with engine.begin() as connection:
        yield connection
