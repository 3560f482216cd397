"""Real services for the tests: the embedded ones, in a folder of their own."""

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import Engine, create_engine, make_url, text

from db import migrate
from orchestrator.local.services import ServiceUrls, start_services, stop_services

settings.register_profile("shared machine", deadline=None)  # a slow example is no failure
settings.register_profile("fuzz", deadline=timedelta(seconds=20), max_examples=5000)
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def services() -> Iterator[ServiceUrls]:
    """Postgres and Redis for the whole session."""
    with tempfile.TemporaryDirectory(prefix="neurogloss-tests-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # as root, Postgres runs under another account
        yield start_services(home / "home")
        stop_services(home / "home")


@pytest.fixture(scope="session")
def template(services: ServiceUrls) -> str:
    """A database that the migrations have just built; tests get copies of it."""
    _execute(services, "CREATE DATABASE template_of_tests")
    url = make_url(services.database_url).set(database="template_of_tests")
    migrate.upgrade(url.render_as_string(hide_password=False))
    return "template_of_tests"


@pytest.fixture
def database_url(services: ServiceUrls, template: str) -> Iterator[str]:
    """A migrated, empty database."""
    _execute(services, f"CREATE DATABASE test TEMPLATE {template}")
    yield make_url(services.database_url).set(database="test").render_as_string(False)
    _execute(services, "DROP DATABASE test WITH (FORCE)")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def _execute(services: ServiceUrls, statement: str) -> None:
    engine = create_engine(services.database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
