"""Engines and transactions."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, RowMapping, create_engine, text
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError, TimeoutError

# Over a network a server can vanish without a word. These say how long a connection waits for it;
# unix sockets, where it cannot, take no notice of them.
_NOTICE_SILENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40_000,  # ms
}


WORKER_POOL = 4  # connections that a worker keeps
OVERFLOW = 8  # that a process opens beside those that it keeps, while many threads ask at once


@dataclass(frozen=True, slots=True)
class Patience:
    """The time-outs of a transaction in the server, in seconds; 0 is none.

    Attributes:
        idle_s: Longest pause between two statements; then the locks of a frozen process are free.
        lock_s: Longest wait for a lock that another transaction holds.
        statement_s: Longest duration of one statement.
    """

    idle_s: float
    lock_s: float = 0.0
    statement_s: float = 0.0

    @classmethod
    def of_lease(cls, lease_s: float) -> Self:
        """Return the patience for workers and dispatchers, whose locks must not hold a run up.

        At least some seconds: they compute between statements when they merge a layer's records.
        """
        idle_s = max(10.0, lease_s)
        return cls(idle_s, max(5.0, lease_s / 2), 2 * idle_s)

    @property
    def sql(self) -> str:
        """The statements that set it, for the transaction alone: a pooler shares sessions."""
        limits = {
            "idle_in_transaction_session_timeout": self.idle_s,
            "lock_timeout": self.lock_s,
            "statement_timeout": self.statement_s,
        }
        return "; ".join(f"SET LOCAL {name} = {1000 * s:.0f}" for name, s in limits.items())


LONG = Patience(idle_s=3600.0)
"""For commands, some of which work for hours: exports, imports, verify."""


def make_engine(url: str | URL, pool_size: int = 2, patience: Patience = LONG) -> Engine:
    """Return an engine that notices connections lost while idle.

    `pool_size` is small because every process of every container has a pool of its own, and the
    server counts them all. `patience` holds in `transaction` and `snapshot`.
    """
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=OVERFLOW,
        pool_pre_ping=True,
        hide_parameters=True,  # in messages of errors, which are logged: prompts are among them
        connect_args={"client_encoding": "utf8", **_NOTICE_SILENCE},
        execution_options={"patience": patience},
    )


def with_patience(engine: Engine, patience: Patience) -> Engine:
    """Return an engine with the connections of another one, and a patience of its own."""
    return engine.execution_options(patience=patience)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that commits at the end of the block, or rolls back if it raises."""
    with engine.begin() as connection:
        limit_patience(connection)
        yield connection


@contextmanager
def snapshot(engine: Engine, shared: str | None = None) -> Iterator[Connection]:
    """Open a read-only transaction that sees the database as it is now, to its end.

    With `shared`, it sees what the transaction sees that `share_snapshot` was called in.
    """
    with engine.begin() as connection:
        limit_patience(connection)
        isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
        connection.execute(text(isolation))
        if shared is not None:
            connection.exec_driver_sql("SET TRANSACTION SNAPSHOT %s", (shared,))
        yield connection


def share_snapshot(connection: Connection) -> str:
    """Return the name by which others see what this transaction sees, as long as it is open."""
    return str(connection.scalar(text("SELECT pg_export_snapshot()")))


def limit_patience(connection: Connection) -> None:
    """Set the patience of a connection's engine, if it has one, for this transaction."""
    patience = connection.get_execution_options().get("patience")
    if patience is not None:  # engines of others have none
        connection.exec_driver_sql(patience.sql)


def streamed(
    connection: Connection, query: str, values: Mapping[str, Any], at_once: int = 1000
) -> Iterator[RowMapping]:
    """Yield the rows of a query from a cursor that the server keeps, `at_once` in each fetch."""
    # An option of the statement: as one of the connection, it would hold for all that follow.
    options = {"yield_per": at_once}
    yield from connection.execute(text(query), values, execution_options=options).mappings()


_GIVES_WAY = {"55P03", "25P03"}  # lock_timeout, idle_in_transaction_session_timeout
_TOO_LONG = "57014"  # statement_timeout


def is_too_long(error: BaseException) -> bool:
    """Return whether a statement was ended by its time-out."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) == _TOO_LONG


def is_away(error: BaseException) -> bool:
    """Return whether an error says nothing of the statement: the same one may succeed later.

    So it is while the server cannot be reached, is shut down, is full, or made a transaction give
    way to another, also by a time-out. (Appendix "PostgreSQL Error Codes" of its manual.)
    """
    if not isinstance(error, DBAPIError):
        return isinstance(error, TimeoutError)  # all connections are in use, or wait for the server
    code = getattr(error.orig, "pgcode", None)
    if code is None:  # it is the driver's own: the connection broke, or was never made
        # Of the base class are answers that ended halfway ("no message from the libpq").
        is_broken = isinstance(error, OperationalError | InterfaceError)
        return error.connection_invalidated or is_broken or type(error) is DatabaseError
    return code.startswith(("08", "40", "57P")) or code in _GIVES_WAY | {"53100", "53300"}
