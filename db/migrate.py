"""Bringing a database to the schema of this code."""

import contextlib
import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

ROOT = Path(__file__).parents[1]


def upgrade(url: str) -> None:
    """Apply the migrations that are missing. Safe to call from several processes at once."""
    with contextlib.redirect_stdout(io.StringIO()):
        command.upgrade(_config(url), "head")


def head() -> str:
    """Return the schema version that this code needs."""
    found = ScriptDirectory.from_config(_config("")).get_current_head()
    assert found is not None  # migrations/versions is not empty
    return found


def _config(url: str) -> Config:
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config
