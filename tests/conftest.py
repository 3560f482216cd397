"""Real services for the tests: the embedded ones, in a folder of their own."""

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import Engine

from db import migrate
from orchestrator.local.services import ServiceUrls, start_services, stop_services
from tests.support.databases import connected, copied, copy_database, url_of

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
    copy_database(services, "template1", "template_of_tests")
    migrate.upgrade(url_of(services, "template_of_tests"))
    return "template_of_tests"


@pytest.fixture
def database_url(services: ServiceUrls, template: str) -> Iterator[str]:
    """A migrated, empty database."""
    with copied(services, template, "test") as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with connected(database_url) as engine:
        yield engine
