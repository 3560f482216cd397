"""Bringing a database to the schema of this code."""

import contextlib
import io
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic is imported by what moves a schema alone: most commands only ask whether it is theirs.
ROOT = Path(__file__).parents[1]
VERSIONS = ROOT / "migrations" / "versions"
_REVISION = re.compile(r'^(down_)?revision = "(\w+)"', re.MULTILINE)


class SchemaError(Exception):
    """A database is not at the schema that this code needs; the message says what to do."""


def upgrade(url: str) -> None:
    """Apply the migrations that are missing. Safe to call from several processes at once.

    Raises:
        SchemaError: The database is at a schema that only a later version knows.
    """
    _move(url, "upgrade", "head")


def downgrade(url: str, version: str) -> None:
    """Take migrations back down to a version, `base` for all of them. Data may be lost by it."""
    _move(url, "downgrade", version)


def _move(url: str, direction: str, version: str) -> None:
    from alembic import command
    from alembic.util import CommandError

    try:
        # Alembic prints there, where the results of commands belong.
        with contextlib.redirect_stdout(io.StringIO()):
            getattr(command, direction)(_config(url), version)
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
    return version in _revisions()[0]


@cache
def head() -> str:
    """Return the schema version that this code needs.

    Looked up once: the files below a process that works may be those of a later version by then.
    """
    versions, predecessors = _revisions()
    (latest,) = versions - predecessors
    return latest


def _revisions() -> tuple[set[str], set[str]]:
    """Return the versions that the migrations lead to, and those that they start from."""
    found: dict[str, set[str]] = {"": set(), "down_": set()}
    for path in VERSIONS.glob("*.py"):
        for kind, version in _REVISION.findall(path.read_text(encoding="utf-8")):
            found[kind].add(version)
    return found[""], found["down_"]


def _config(url: str) -> "Config":
    from alembic.config import Config

    config = Config(str(ROOT / "alembic.ini"))
    # The parser of the file takes `%` for the beginning of a reference.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config
