"""What a schedule disturbs: services, three workers and dispatchers, each on links of its own.

The world tends itself as an operator's machine would: what has ended is started again.
"""

import os
import signal
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from redis import Redis
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from db import migrate
from db.tables.schema import METADATA
from orchestrator.local.account import make_private_folder, server_account
from orchestrator.local.errors import ServiceError
from orchestrator.local.services import Services, socket_folder, start_services, stop_services
from tests.chaos import small_disk
from tests.chaos.child import Child
from tests.chaos.database_clock import DatabaseClock
from tests.chaos.mischief import Mischief
from tests.chaos.operator import ROOT, Operator
from tests.chaos.pooler import Pooler, program
from tests.chaos.proxy import Network
from tests.chaos.small_disk import mount

WORKERS = {"gpu-1": "gpu", "api-1": "api", "api-2": "api"}
MAIN = "dispatcher"
LEASE_S = 4.0
START_S = 120.0
ENDS_S = 15.0  # in which workers put down what is cancelled
ONE_DATABASE_AWAY = (
    "database cannot be reached"  # how a dispatcher begins in an outage: exit code 2
)
PAUSED_BY_A_PERSON = ("paused (person)", "was paused, and another command resumed it")
PAUSED = 4  # exit code of a dispatcher whose run is paused or cancelled


@dataclass
class World:
    """Everything in one folder. Use as a context."""

    RUN = "chaos"
    SECOND = "second"

    folder: Path
    mutation: str = ""
    lease_s: float = LEASE_S
    children: dict[str, Child] = field(default_factory=dict)
    held_down: set[str] = field(default_factory=set)  # services that a fault keeps down
    complaints: list[str] = field(default_factory=list)
    mischief: Mischief = field(default_factory=Mischief)
    has_small_disk: bool = False
    is_pooled: bool = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder.chmod(0o755)  # as root, the servers run under another account
            home = self.folder / "home"
            home.mkdir()
            self.has_small_disk = mount(home / "postgres", small_disk.OF_DATABASE, stack)
            make_private_folder(home / "postgres", server_account(home))
            mount(self.spool, small_disk.OF_SPOOL, stack)
            stack.callback(stop_services, home)
            self._start_services(home)
            stack.callback(self.pooler.kill)
            migrate.upgrade(self.urls.database_url)
            self.engine: Engine = create_engine(self.urls.database_url, poolclass=NullPool)
            self.network = Network()
            stack.callback(self.network.close)
            stack.callback(self._end_children)
            child = self._make("operator", [])
            self.operator = Operator(child, self.environment, lambda: self.mischief.batches)
            stack.callback(self.operator.end)
            for name, kind in WORKERS.items():
                self.children[name] = self._make(name, ["worker", kind, "--name", name])
                self._start(self.children[name])
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_services(self, home: Path) -> None:
        """Start Postgres with a clock of its own, and Redis; prepare a pooler."""
        account = server_account(home)
        sockets = socket_folder(home)
        make_private_folder(sockets, account)
        self.services = Services.of(home)
        self.clock = DatabaseClock(self.folder / "database-clock")
        with self.clock.preloaded():
            self.services.postgres.start()
        self.urls = start_services(home)
        self.pooler = Pooler(sockets / "pooler", sockets, account)

    @property
    def left_out(self) -> list[str]:
        """Which faults this machine cannot make, in words."""
        cannot = {
            "no small disk can be mounted here: no disk is filled": not self.has_small_disk,
            "libfaketime is not installed: the database's clock does not jump": (
                not self.clock.can_jump
            ),
            "pgbouncer is not installed: no run goes by way of a pooler": program() is None,
        }
        return [words for words, is_so in cannot.items() if is_so]

    @property
    def spool(self) -> Path:
        """The folder of answers that Postgres did not take before a worker ended."""
        return self.folder / "spool"

    def redis(self) -> Redis:
        """Return a client on the server itself."""
        return Redis.from_url(self.urls.redis_client_url)

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Ask the database itself."""
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    def forget_runs(self) -> None:
        """Empty the database, for the next run to begin from nothing."""
        self.rows("UPDATE run SET state = 'cancelled' WHERE state <> 'done' RETURNING id")
        deadline = time.monotonic() + ENDS_S
        while self.rows(_AT_WORK)[0]["n"] and time.monotonic() < deadline:
            time.sleep(0.2)
        kept = {"worker"}
        names = ", ".join(f'"{t.name}"' for t in METADATA.sorted_tables if t.name not in kept)
        with self.engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {names} CASCADE"))
        with self.redis() as client:
            client.flushall()
        for file in self.spool.iterdir():
            file.unlink()

    def put_pooler(self, *, between: bool) -> None:
        """Let database links lead to the pooler, or past it."""
        self.is_pooled = between
        if self.is_pooled and not self.pooler.is_running():
            self.pooler.start()
        for child in (*self.children.values(), self.operator.child):
            child.links[0].lead_to(self._database_socket)

    @property
    def _database_socket(self) -> Path:
        server = self.services.postgres.sockets / ".s.PGSQL.5432"
        return self.pooler.socket if self.is_pooled else server

    # Processes

    def wait_for_workers(self) -> None:
        """Return when all workers have said that they live."""
        deadline = time.monotonic() + START_S
        while len(self.rows("SELECT worker FROM worker")) < len(WORKERS):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the workers do not start: see {self.folder}")
            time.sleep(0.2)

    def wait_for_calls_in_flight(self, seconds: float = 3.0) -> None:
        """Return when calls are in flight, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while not self.mischief.in_flight and time.monotonic() < deadline:
            time.sleep(0.02)

    def begin_run(self, config: Path, name: str = MAIN) -> None:
        """Start a dispatcher of the run that a configuration describes."""
        if name not in self.children:
            self.children[name] = self._make(name, ["run", str(config)])
        child = self.children[name]
        if not child.is_alive():
            self._start(child)

    def dispatchers(self) -> list[Child]:
        """Return the dispatchers that are not done."""
        return [c for c in self.children.values() if c.name not in WORKERS and not c.is_done]

    def tend(self) -> None:
        """Start again what has ended."""
        if "postgres" not in self.held_down and not self.services.postgres.is_running():
            # With its disk full it cannot start: it is tried again until that is mended.
            with self.clock.preloaded(), suppress(ServiceError):
                self.services.postgres.start()
        if "redis" not in self.held_down and not self.services.redis.is_running():
            self.services.redis.start()
        if self.is_pooled and "pooler" not in self.held_down and not self.pooler.is_running():
            self.pooler.start()
        for child in self.children.values():
            if child.process is not None and not child.is_done and not child.is_alive():
                self._take_note_of_end(child)
        self.operator.look()

    def _take_note_of_end(self, child: Child) -> None:
        code, said = child.process.returncode if child.process else 0, child.output()
        if child.name not in WORKERS and code == PAUSED:
            self._take_note_of_pause(child, said)
            return
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

    def _take_note_of_pause(self, child: Child, said: str) -> None:
        """Start a dispatcher again whose run somebody paused, once it is to go on."""
        if child.name.startswith(self.SECOND):
            child.is_done = True
        elif self.operator.n_pauses:
            child.waits = True
        elif child.waits or any(words in said for words in PAUSED_BY_A_PERSON):
            self._start(child)
        else:
            self.complaints.append(f"{child.name} ended with {PAUSED}: {said[-4000:]}")
            child.is_done = True

    def _make(self, name: str, arguments: list[str]) -> Child:
        postgres = self.network.link(self._database_socket)
        redis = self.network.link(self.services.redis.sockets / "redis.sock")
        command = [sys.executable, "-m", "orchestrator", *arguments]
        log = self.folder / f"{name}.log"
        log.touch()
        return Child(name, command, (postgres, redis), log)

    def _start(self, child: Child) -> None:
        child.start(self.environment(child), ROOT)

    def environment(self, child: Child) -> dict[str, str]:
        """Return the environment of a process."""
        postgres, redis = child.links
        options = "sslmode=disable&gssencmode=disable"
        return {
            **os.environ,
            "DATABASE_URL": f"postgresql://neurogloss@127.0.0.1:{postgres.port}/neurogloss?{options}",
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "NEUROGLOSS_LEASE_SECONDS": str(self.lease_s),
            "NEUROGLOSS_SPOOL": str(self.spool),
            "NEUROGLOSS_LOG_LEVEL": "info",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "120",
            # With this tree, from which mutations import before the command does.
            "PYTHONPATH": f"{Path(__file__).parent / 'injected'}{os.pathsep}{ROOT}",
            "CHAOS_CLOCK_OFFSET": str(child.clock_offset),
            "CHAOS_MUTATION": self.mutation,
        }

    def end_dispatchers(self) -> None:
        """End dispatchers and commands, and begin to forget what they and the workers said."""
        for child in self.children.values():
            if child.name in WORKERS:
                child.signal(signal.SIGCONT)
                for link in child.links:
                    link.heal()
            elif child.process is not None:
                child.end()
                child.is_done = True
            if child.name not in WORKERS:
                child.log.write_bytes(b"")
                child.began_at = 0
        self.operator.end()

    def _end_children(self) -> None:
        for child in self.children.values():
            child.end()

    # What can be seen

    def can_go_on(self) -> bool:
        """Return whether nothing keeps a run from going on: it has one of each process at least."""
        if self.held_down or self.operator.n_pauses or self.mischief.is_on():
            return False
        able = [child.name for child in self.children.values() if child.can_work()]
        try:
            beats = {row["name"] for row in self.rows(_ALIVE, lease=self.lease_s)}
        except DBAPIError:
            return False
        queues = {WORKERS[name] for name in able if name in WORKERS and name in beats}
        follows = MAIN in able or f"{MAIN}-2" in able
        return follows and queues == set(WORKERS.values())


_AT_WORK = "SELECT count(*) AS n FROM shard WHERE state = 'leased' AND lease_until > now()"
_ALIVE = """
    SELECT split_part(worker, '@', 1) AS name FROM worker
    WHERE heartbeat_at > now() - :lease * interval '1 second'
"""
