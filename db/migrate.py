"""Bringing a database to the schema of this code."""

import contextlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

ROOT = Path(__file__).parents[1]


class SchemaError(Exception):
    """A database is not at the schema that this code needs; the message says what to do."""


def upgrade(url: str) -> None:
    """Apply the migrations that are missing. Safe to call from several processes at once.

    Raises:
        SchemaError: The database is at a schema that only a later version knows.
    """
    _move(url, command.upgrade, "head")


def downgrade(url: str, version: str) -> None:
    """Take migrations back down to a version, `base` for all of them. Data may be lost by it."""
    _move(url, command.downgrade, version)


def _move(url: str, direction: Callable[[Config, str], None], version: str) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            direction(_config(url), version)
    except CommandError as error:  # an unknown version, of the database or to go to
        raise SchemaError(f"{error}: {_UPDATE}") from error


def check_version(version: str | None) -> None:
    """Check that a database is at the schema of this code.

    Raises:
        SchemaError: It is at an older or a later one.
    """
    if version == head():
        return
    remedy = "run `neurogloss migrate`" if version is None or knows(version) else _UPDATE
    raise SchemaError(
        f"the database is at schema {version or 'none'}, "
        f"this version of neurogloss needs {head()}: {remedy}"
    )


_UPDATE = "it belongs to a later version: update neurogloss here, or go back by a backup"


def knows(version: str) -> bool:
    """Return whether a schema version is this one or an older one of neurogloss."""
    scripts = ScriptDirectory.from_config(_config("")).walk_revisions()
    return any(script.revision == version for script in scripts)


@cache
def head() -> str:
    """Return the schema version that this code needs.

    Looked up once: the files below a process that works may be those of a later version by then.
    """
    revision = ScriptDirectory.from_config(_config("")).get_current_head()
    assert revision is not None  # migrations/versions is not empty
    return revision


def _config(url: str) -> Config:
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config
