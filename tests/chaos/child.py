"""A process of the world: a worker, or a dispatcher."""

import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.proxy import Link

BEGUN = ("worker started", "dispatcher started")  # what workers and dispatchers log


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
    is_frozen: bool = False
    waits: bool = False  # ended because its run is paused
    began_at: int = 0  # where its log stood when it was started last
    is_ready: bool = False  # it has said that it began its work

    def start(self, env: dict[str, str], folder: Path) -> None:
        """Start it, anew if it ran before."""
        self.is_expected_to_end = self.is_done = self.is_frozen = self.waits = False
        self.began_at = self.log.stat().st_size
        self.is_ready = False
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, which ends a process unless it stops or continues it."""
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self.is_expected_to_end = True
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.is_frozen = number == signal.SIGSTOP or self.is_frozen
            self.is_frozen = number != signal.SIGCONT and self.is_frozen

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def can_work(self) -> bool:
        """Return whether it has begun, and reaches its services."""
        self.is_ready = self.is_ready or any(words in self.output() for words in BEGUN)
        able = self.is_alive() and self.is_ready and not self.is_frozen
        return able and all(link.is_whole() for link in self.links)

    def output(self) -> str:
        """Return what it has said since it was started last."""
        return self.log.read_bytes()[self.began_at :].decode(errors="replace")

    def end(self) -> None:
        """Kill it, and wait for its end."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
