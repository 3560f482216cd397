"""Databases of the tests' Postgres, made as copies of others."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine, make_url, text

from orchestrator.local.services import ServiceUrls


def url_of(services: ServiceUrls, database: str) -> str:
    return make_url(services.database_url).set(database=database).render_as_string(False)


@contextmanager
def copied(services: ServiceUrls, template: str, name: str) -> Iterator[str]:
    """Copy a database to which nobody is connected; yield the URL of the copy, and drop it."""
    copy_database(services, template, name)
    yield url_of(services, name)
    _execute(services, f"DROP DATABASE {name} WITH (FORCE)")


def copy_database(services: ServiceUrls, template: str, name: str) -> None:
    """Copy a database to which nobody is connected."""
    _execute(services, f"CREATE DATABASE {name} TEMPLATE {template}")


@contextmanager
def connected(url: str) -> Iterator[Engine]:
    """Yield an engine of which no connection is left in the end."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


def _execute(services: ServiceUrls, statement: str) -> None:
    engine = create_engine(services.database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
