"""Back up and restore the whole database with Postgres's pg_dump and pg_restore.

Both programs must have the server's version or a later one. For embedded services they come from
the same wheel as the server, otherwise from the PATH. The password is passed in the environment,
since a list of processes shows command lines.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import OperationalError

from db import embeddings
from db.foreign import drop_own_objects, foreign_objects
from db.session import make_engine, transaction
from neurogloss.config.settings import with_driver
from neurogloss.errors import InputError
from orchestrator.environment import Environment, upgrade_schema
from orchestrator.local.postgres import program

_NAMED = 5  # foreign objects that a message names


def back_up(environment: Environment, path: Path) -> None:
    """Write a snapshot of the database to a file. Runs may continue meanwhile.

    Raises:
        InputError: The file exists already, or pg_dump failed; an incomplete file is removed.
    """
    if path.exists():
        raise InputError(f"{path} exists: a backup is never written over")
    # A backup has its name once it is whole.
    partial = path.with_name(f"{path.name}.partial")
    arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--file={partial}"]
    arguments += _left_out(environment.settings.database_url)
    try:
        _run(environment, "pg_dump", arguments)
        partial.rename(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _left_out(url: str) -> list[str]:
    """Return the arguments that leave embeddings out, which few servers could restore."""
    engine = make_engine(with_driver(url))
    try:
        with transaction(engine) as connection:
            has_vectors = embeddings.is_prepared(connection)
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise InputError(f"the database cannot be read: {reason}") from error
    finally:
        engine.dispose()
    if not has_vectors:
        return []
    return [f"--exclude-table={embeddings.TABLE}", "--exclude-extension=vector"]


def restore_backup(environment: Environment, path: Path) -> None:
    """Restore a backup into a database without runs, and upgrade it to this version's schema.

    Raises:
        InputError: The database has runs or objects that are not neurogloss's, or the file is not a
            backup or from a later version.
    """
    # Listing the file checks it before the database is emptied.
    _run(environment, "pg_restore", ["--list", str(path)], connects=False)
    _empty(environment.settings.database_url)
    # One transaction: a backup that is cut off leaves the database empty, not half full.
    arguments = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    _run(environment, "pg_restore", [*arguments, str(path)])
    upgrade_schema(environment.settings.database_url)


def _empty(url: str) -> None:
    engine = make_engine(with_driver(url))
    with transaction(engine) as connection:
        # First: a table "run" of somebody else may have no column "name".
        _refuse_foreign(connection)
        has_schema = connection.scalar(text("SELECT to_regclass('run')")) is not None
        if has_schema and (name := connection.scalar(text("SELECT min(name) FROM run"))):
            raise InputError(
                f"the database has runs, {name!r} for one: a backup is restored into an empty one"
            )
        drop_own_objects(connection)
    engine.dispose()


def _refuse_foreign(connection: Connection) -> None:
    if foreign := foreign_objects(connection):
        more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
        raise InputError(
            f"the database holds what is not neurogloss's: {', '.join(foreign[:_NAMED])}{more}. "
            "A backup is restored into a database of its own"
        )


def _run(
    environment: Environment, name: str, arguments: Sequence[str], *, connects: bool = True
) -> None:
    url = make_url(with_driver(environment.settings.database_url))
    env = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    target = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    command = [_path(environment, name), *([f"--dbname={target}"] if connects else []), *arguments]
    done = subprocess.run(
        command, check=False, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"{name} failed: {done.stderr.strip()}")


def _path(environment: Environment, name: str) -> str:
    if environment.home is not None:
        return str(program(name))
    path = shutil.which(name)
    if path is None:
        raise InputError(f"{name} is not on the PATH: install Postgres's client programs")
    return path
