"""Engines and transactions."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

# Over a network a server can vanish without a word. These say how long a connection waits for it;
# unix sockets, where it cannot, take no notice of them.
_NOTICE_SILENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40_000,  # ms
}


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
        hide_parameters=True,  # in messages of errors, which are logged: prompts are among them
        connect_args={"client_encoding": "utf8", **_NOTICE_SILENCE},
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that commits at the end of the block, or rolls back if it raises."""
    with engine.begin() as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open a read-only transaction that sees the database as it is now, to its end."""
    with engine.begin() as connection:
        isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
        connection.execute(text(isolation))
        yield connection


def streamed(
    connection: Connection, query: str, values: Mapping[str, Any], at_once: int = 1000
) -> Iterator[RowMapping]:
    """Yield the rows of a query from a cursor that the server keeps, `at_once` in each fetch."""
    # An option of the statement: as one of the connection, it would hold for all that follow.
    options = {"yield_per": at_once}
    yield from connection.execute(text(query), values, execution_options=options).mappings()


def is_away(error: BaseException) -> bool:
    """Return whether an error says nothing of the statement: the same one may succeed later.

    So it is while the server cannot be reached, is shut down, is full, or made two transactions
    give way to each other. (Appendix "PostgreSQL Error Codes" of its manual.)
    """
    if not isinstance(error, DBAPIError):
        return isinstance(error, TimeoutError)  # all connections are in use, or wait for the server
    code = getattr(error.orig, "pgcode", None)
    if code is None:  # it is the driver's own: the connection broke, or was never made
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return code.startswith(("08", "40", "57P")) or code in {"53100", "53300"}
