"""The command line with a state folder of its own, and the server that its runs ask."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, NullPool, create_engine, text

from tests.golden.project import (
    CLI,
    FaultRates,
    RehearsalOptions,
    RehearsalServer,
    main,
    start_services,
)

# A base URL is part of a call's identity, so it is always this one. The address is a loopback one
# that nobody else takes; of two sessions of the golden tests, one waits for the other.
HOST, PORT = "127.83.17.5", 18117
BASE_URL = f"http://{HOST}:{PORT}/v1"
WAIT_S = 600.0
FAULTS = FaultRates(malformed=0.05)  # so that some questions are asked again
COMMAND_S = 300.0  # of a machine that others use too


class CommandLine:
    """Runs `neurogloss` on embedded services in `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.outcomes: dict[str, tuple[int, str]] = {}
        self._started: list[subprocess.Popen[str]] = []
        unset = ("DATABASE_URL", "REDIS_URL")
        self.env = {key: value for key, value in os.environ.items() if key not in unset}
        self.env |= {"NEUROGLOSS_HOME": str(home), "NEUROGLOSS_LEASE_SECONDS": "10"}
        self.env |= {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command, in a process group of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", CLI, *arguments],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Wait for a command; return its exit code and output."""
        try:
            output, _ = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise AssertionError(f"{process.args} takes too long:\n{output}") from None
        return process.returncode, output

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and the output of a command."""
        return self.end(self.start(*arguments))

    def here(self, *arguments: str) -> tuple[int, str]:
        """Run a command in this process, which has imported everything; return what `run` does."""
        output = io.StringIO()
        code: Any = 0
        with (
            patch.dict(os.environ, self.env, clear=True),
            redirect_stdout(output),
            redirect_stderr(output),
        ):
            try:
                main(arguments)
            except SystemExit as error:
                code = error.code
        return code, output.getvalue()

    def json(self, *arguments: str) -> Any:
        """Return what a command prints that has to succeed."""
        code, output = self.here(*arguments, "--json")
        assert code == 0, output
        return json.loads(output)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a command at once; its workers end with it."""
        os.killpg(process.pid, signal.SIGKILL)
        self.end(process)

    def stop(self) -> None:
        """Kill the commands that still run, and stop the services, which they would start again."""
        for process in self._started:
            if process.poll() is None:
                self.kill(process)
        self.run("stop")

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """Give a connection to the database, without the seconds that a command takes."""
        engine = create_engine(start_services(self.home).database_url, poolclass=NullPool)
        with engine.begin() as connection:
            yield connection

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self.database() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    @contextmanager
    def worker(self, kind: str) -> Iterator[None]:
        """Have a worker running."""
        log = self.home.with_name(f"{kind}.log")
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", CLI, "worker", kind],
                env=self.env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def command_line() -> Iterator[CommandLine]:
    """Give a command line with an empty state folder; its services are stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="neurogloss-golden-") as folder:
        Path(folder).chmod(0o755)  # as root, Postgres runs under another account
        cli = CommandLine(Path(folder) / "home")
        try:
            yield cli
        finally:
            cli.stop()


@contextmanager
def rehearsal_server(**options: Any) -> Iterator[RehearsalServer]:
    """Serve at BASE_URL, to questions for any model."""
    named = {"host": HOST, "port": PORT, "models": (), "faults": FAULTS, **options}
    deadline = time.monotonic() + WAIT_S
    while True:
        server = RehearsalServer(RehearsalOptions(**named))
        try:
            server.__enter__()
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(1)
    try:
        yield server
    finally:
        server.__exit__(None, None, None)
