"""What a schedule disturbs: two services, three workers and a dispatcher, each on links of its own.

The world tends itself as an operator's machine would: what has ended is started again.
"""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from redis import Redis
from sqlalchemy import Engine, NullPool, create_engine, text

from db import migrate
from db.tables import Base
from orchestrator.corpus import python_docs
from orchestrator.local.account import make_private_folder, server_account
from orchestrator.local.services import Services, start_services, stop_services
from tests.chaos.proxy import Link, Network

ROOT = Path(__file__).parents[2]
WORKERS = {"gpu-1": "gpu", "api-1": "api", "api-2": "api"}
LEASE_S = 4.0
START_S = 120.0
DISK_BYTES = 384 << 20  # of the database, where the machine lets us mount so small a one
ONE_DATABASE_AWAY = (
    "database cannot be reached"  # how a dispatcher begins in an outage: exit code 2
)


@dataclass
class Child:
    """A process that is started again when it ends, until it is done."""

    name: str
    command: list[str]
    links: tuple[Link, Link]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    clock_offset: float = 0.0
    is_expected_to_end: bool = False
    is_done: bool = False
    began_at: int = 0  # where its log stood when it was started last

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, which ends a process unless it stops or continues it."""
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self.is_expected_to_end = True
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def output(self) -> str:
        """Return what it has said since it was started last."""
        return self.log.read_bytes()[self.began_at :].decode(errors="replace")


@dataclass
class World:
    """Everything in one folder. Use as a context."""

    folder: Path
    mutation: str = ""
    children: dict[str, Child] = field(default_factory=dict)
    held_down: set[str] = field(default_factory=set)  # services that a fault keeps down
    complaints: list[str] = field(default_factory=list)
    has_small_disk: bool = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder.chmod(0o755)  # as root, the servers run under another account
            home = self.folder / "home"
            home.mkdir()
            self._mount(home / "postgres", stack)
            stack.callback(stop_services, home)
            self.urls = start_services(home)
            self.services = Services.of(home)
            migrate.upgrade(self.urls.database_url)
            self.engine: Engine = create_engine(self.urls.database_url, poolclass=NullPool)
            self.network = Network()
            stack.callback(self.network.close)
            stack.callback(self._end_children)
            for name, kind in WORKERS.items():
                self._add(name, ["worker", kind, "--name", name])
                self._start(self.children[name])
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _mount(self, folder: Path, stack: ExitStack) -> None:
        """Give the database a small disk of its own, which takes root and its capabilities."""
        folder.mkdir(mode=0o700)
        options = f"size={DISK_BYTES},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        with suppress(OSError):
            done = subprocess.run(command, check=False, capture_output=True)
            self.has_small_disk = done.returncode == 0
        if self.has_small_disk:
            stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False)
        make_private_folder(folder, server_account(folder.parent))

    def redis(self) -> Redis:
        """Return a client on the server itself."""
        return Redis.from_url(self.urls.redis_client_url)

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Ask the database itself."""
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    def forget_runs(self) -> None:
        """Empty the database, for the next run to begin from nothing."""
        kept = {"worker"}
        names = ", ".join(f'"{t.name}"' for t in Base.metadata.sorted_tables if t.name not in kept)
        with self.engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {names} CASCADE"))
        with self.redis() as client:
            client.flushall()

    # Processes

    def wait_for_workers(self) -> None:
        """Return when all workers have said that they live."""
        deadline = time.monotonic() + START_S
        while len(self.rows("SELECT worker FROM worker")) < len(WORKERS):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the workers do not start: see {self.folder}")
            time.sleep(0.2)

    def begin_run(self, config: Path, name: str = "dispatcher") -> None:
        """Start a dispatcher of the run that a configuration describes."""
        if name not in self.children:
            self._add(name, ["run", str(config)])
        child = self.children[name]
        if child.process is None or child.process.poll() is not None:
            child.is_done = False
            self._start(child)

    def dispatchers(self) -> list[Child]:
        """Return the dispatchers that are not done."""
        return [c for c in self.children.values() if c.name not in WORKERS and not c.is_done]

    def tend(self) -> None:
        """Start again what has ended."""
        services = {"postgres": self.services.postgres, "redis": self.services.redis}
        for name, service in services.items():
            if name not in self.held_down and not service.is_running():
                service.start()
        for child in self.children.values():
            if child.process is not None and not child.is_done and child.process.poll() is not None:
                self._take_note_of_end(child)

    def _take_note_of_end(self, child: Child) -> None:
        code, said = child.process.returncode if child.process else 0, child.output()
        if child.name not in WORKERS and code == 0:
            child.is_done = True
            return
        could_not_begin = code == 2 and ONE_DATABASE_AWAY in said
        if not child.is_expected_to_end and not could_not_begin:
            self.complaints.append(f"{child.name} ended with {code}: {said[-4000:]}")
        if child.name in WORKERS or code in (1, 2, 130) or code < 0:
            self._start(child)
        else:
            child.is_done = True

    def _add(self, name: str, arguments: list[str]) -> None:
        postgres = self.network.link(self.services.postgres.sockets / ".s.PGSQL.5432")
        redis = self.network.link(self.services.redis.sockets / "redis.sock")
        command = [sys.executable, "-m", "orchestrator", *arguments]
        log = self.folder / f"{name}.log"
        log.touch()
        self.children[name] = Child(name, command, (postgres, redis), log)

    def _start(self, child: Child) -> None:
        child.is_expected_to_end = False
        child.began_at = child.log.stat().st_size
        env = self.environment(child)
        with child.log.open("ab") as log:
            child.process = subprocess.Popen(
                child.command, env=env, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def environment(self, child: Child) -> dict[str, str]:
        """Return the environment of a process."""
        postgres, redis = child.links
        options = "sslmode=disable&gssencmode=disable"
        return {
            **os.environ,
            "DATABASE_URL": f"postgresql://neurogloss@127.0.0.1:{postgres.port}/neurogloss?{options}",
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "NEUROGLOSS_LEASE_SECONDS": str(LEASE_S),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "120",
            "PYTHONPATH": str(Path(__file__).parent / "injected"),
            "CHAOS_CLOCK_OFFSET": str(child.clock_offset),
            "CHAOS_MUTATION": self.mutation,
        }

    def end_dispatchers(self) -> None:
        """End the dispatchers, and begin to forget what they and the workers said."""
        for child in self.children.values():
            if child.name in WORKERS:
                child.signal(signal.SIGCONT)
                for link in child.links:
                    link.heal()
            elif child.process is not None:
                _end(child.process)
                child.is_done = True
            if child.name not in WORKERS:
                child.log.write_bytes(b"")
                child.began_at = 0

    def _end_children(self) -> None:
        for child in self.children.values():
            if child.process is not None:
                _end(child.process)

    # What was said

    def logs(self) -> dict[str, int]:
        """Return where each log stands now."""
        return {child.name: child.log.stat().st_size for child in self.children.values()}

    def faults_of_our_own(self, since: dict[str, int]) -> list[str]:
        """Return what workers and dispatchers said that no outage explains."""
        found = []
        for child in self.children.values():
            said = child.log.read_bytes()[since.get(child.name, 0) :].decode(errors="replace")
            pattern = _FAILED if child.name in WORKERS else _TRACEBACK
            found += [f"{child.name}: {match[0][:800]}" for match in pattern.finditer(said)]
        return found


_FAILED = re.compile(
    r"shard failed .*(?:\n  .*)*|raised unexpected: .*|paid answers not stored .*(?:\n  .*)*"
)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)[\s\S]*\n\S+.*")


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


def corpus_of(folder: Path, documents: int) -> Path:
    """Write a small corpus once, which is cut in a moment: some of Python's documentation."""
    path = folder / "corpus"
    path.mkdir(exist_ok=True)
    for number, (_, words) in zip(range(documents), python_docs.documents(), strict=False):
        (path / f"{number:04d}.txt").write_text(words, encoding="utf-8")
    return path
