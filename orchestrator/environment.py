"""Postgres and Redis of a command: those that the environment names, or embedded ones."""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from db import migrate, runs
from db.read_only import is_superuser
from db.roles import READER, let_reader_read
from db.session import make_engine, transaction
from neurogloss.config.settings import Settings, with_driver
from neurogloss.errors import InputError
from orchestrator.local.errors import ServiceError
from orchestrator.local.services import start_services
from worker.outages import first_line_of

EMBEDDED_LEASE_S = "20"  # short: on one machine, a worker without a heartbeat has died


@dataclass(frozen=True, slots=True)
class Environment:
    """The services of a command. `home` is the state folder of embedded ones, None for others."""

    settings: Settings
    home: Path | None

    def ensure(self) -> None:
        """Start embedded services that are not running."""
        if self.home is not None:
            start_services(self.home)

    def worker_env(self) -> dict[str, str]:
        """Return the environment in which workers find the same services."""
        return {
            **os.environ,
            "DATABASE_URL": self.settings.database_url,
            "REDIS_URL": self.settings.redis_url,
            "NEUROGLOSS_LEASE_SECONDS": str(self.settings.lease_s),
        }


def home_folder() -> Path:
    """Return the state folder of embedded services."""
    return Path(os.environ.get("NEUROGLOSS_HOME", ".neurogloss")).absolute()


def find_environment() -> Environment:
    """Return the services that the environment names; with none named, start embedded ones.

    Raises:
        InputError: One of the two is named without the other, or they cannot be started.
    """
    named = {name for name in ("DATABASE_URL", "REDIS_URL") if os.environ.get(name)}
    if len(named) == 1:
        (missing,) = {"DATABASE_URL", "REDIS_URL"} - named
        raise InputError(f"{missing} is not set: set both, or neither for embedded services")
    if named:
        return Environment(Settings.from_env(os.environ), None)
    home = home_folder()
    try:
        urls = start_services(home)
    except ServiceError as error:
        raise InputError(str(error)) from error
    # First, so that a variable that the user has set wins.
    env = {"NEUROGLOSS_LEASE_SECONDS": EMBEDDED_LEASE_S, **os.environ}
    env |= {"DATABASE_URL": urls.database_url, "REDIS_URL": urls.redis_url}
    return Environment(Settings.from_env(env), home)


def open_database(environment: Environment) -> Engine:
    """Return an engine on a database of this code's schema; embedded ones are migrated.

    Raises:
        InputError: The database cannot be reached, or has another schema.
    """
    engine = make_engine(with_driver(environment.settings.database_url))
    try:
        if environment.home is not None and _schema_version(engine) != migrate.head():
            upgrade_schema(environment.settings.database_url)
        check_schema(engine)
    except OperationalError as error:
        reason = first_line_of(error)
        raise InputError(f"DATABASE_URL: the database cannot be reached: {reason}") from error
    return engine


def open_reader(environment: Environment) -> Engine | None:
    """Return an engine for queries that people write, as a user who can only read.

    Embedded services get such a user. Elsewhere it is the user of the environment, unless that is a
    superuser: then there is None.
    """
    url = make_url(with_driver(environment.settings.database_url))
    engine = make_engine(url)
    if environment.home is not None:
        with transaction(engine) as connection:
            let_reader_read(connection)
        return make_engine(url.set(username=READER))
    return None if is_superuser(engine) else engine


def check_schema(engine: Engine) -> None:
    """Check that the database is of this code's schema.

    Raises:
        InputError: It is not.
    """
    try:
        migrate.check_version(_schema_version(engine))
    except migrate.SchemaError as error:
        raise InputError(str(error)) from error


def _schema_version(engine: Engine) -> str | None:
    with transaction(engine) as connection:
        return runs.schema_version(connection)


def upgrade_schema(url: str) -> None:
    """Bring a database to the schema of this code.

    Raises:
        InputError: It cannot be reached, or has a later schema.
    """
    try:
        migrate.upgrade(with_driver(url))
    except migrate.SchemaError as error:
        raise InputError(str(error)) from error
    except DBAPIError as error:
        raise InputError(f"DATABASE_URL: {str(error.orig).strip()}") from error
