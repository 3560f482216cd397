"""`neurogloss serve` over the golden backup, as a subprocess on services of its own."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from orchestrator.local.services import start_services
from tests.support.command_line_runs import LOOKUP
from tests.support.databases import connected

BACKUP = Path(__file__).parents[1] / "golden" / "before.dump"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True, slots=True)
class Served:
    """A server of pages.

    Attributes:
        address: Where it is, without a slash at the end.
        home: The state folder of its services.
        engine: Its database.
    """

    address: str
    home: Path
    engine: Engine

    def command(self, *arguments: str) -> str:
        """Run `neurogloss` on the same services; return its output."""
        return run_command(self.home, *arguments)


@contextmanager
def served_world() -> Iterator[Served]:
    """Restore the golden backup and serve it, without controls."""
    with tempfile.TemporaryDirectory(prefix="neurogloss-web-") as folder:
        Path(folder).chmod(0o755)  # as root, Postgres runs under another account
        home = Path(folder) / "home"
        try:
            run_command(home, "restore", str(BACKUP))
            run_command(home, "runs")  # brings the schema up to date
            url = start_services(home).database_url
            with serving(home) as address, connected(url) as engine:
                yield Served(address, home, engine)
        finally:
            run_command(home, "stop")


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A `neurogloss run` that goes on in a process of its own."""

    name: str
    process: subprocess.Popen[str]

    def wait(self) -> None:
        """Return when it has ended, which must be well."""
        output, _ = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, output


@contextmanager
def started_run(home: Path, name: str) -> Iterator[StartedRun]:
    """Start a small run without calls; kill it at the end, if it is not over."""
    config = home.with_name(f"{name}.toml")
    config.write_text(LOOKUP.replace('name = "tiny"', f'name = "{name}"'))
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "run", str(config)],
        env=_env(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield StartedRun(name, process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=10)


@contextmanager
def serving(home: Path, options: Sequence[str] = ()) -> Iterator[str]:
    """Start `neurogloss serve` on a free port; yield its address, and stop it as Ctrl-C does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "serve", "--port", "0", *options],
        env=_env(home),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield address_of(process)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=15)


def address_of(process: subprocess.Popen[str]) -> str:
    """Return the address that a server prints when it listens."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := _ADDRESS.search(line):
            return found[0]
    raise AssertionError(f"serve ended with {process.wait()}")


def _env(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    return kept | {"NEUROGLOSS_HOME": str(home), "OMP_NUM_THREADS": "1"}


def run_command(home: Path, *arguments: str) -> str:
    """Run `neurogloss` on the services of a home, which must go well; return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        env=_env(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
