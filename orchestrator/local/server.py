"""A server process that outlives the command that started it."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orchestrator.local.account import ServerAccount
from orchestrator.local.errors import ServiceError, with_last_lines

START_SECONDS = 120.0  # crash recovery may read 1 GB of log before the server answers
STOP_SECONDS = 30.0  # after which a service is killed; both survive that
POLL_SECONDS = 0.02  # between looks at whether a service answers

# A shell starts the server in the background and exits, so that the server is not a child of the
# command, which then has no zombie to reap. Its own session keeps Ctrl-C from it.
BACKGROUND = 'pid_file=$1; shift; "$@" & echo $! > "$pid_file"'


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs as long as its lock is held.

    The server inherits the open, locked lock file, and so do its children. The lock is therefore
    free when the last of them has ended, for whatever reason. A process id cannot tell this: it may
    be left from a crash, or belong to another process by now.

    Attributes:
        name: The name in messages.
        folder: Folder of its lock, process id and log; must exist.
        account: Owner of these files, so that root leaves none that the account cannot use.
    """

    name: str
    folder: Path
    account: ServerAccount

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def _pid_file(self) -> Path:
        return self.folder / "server.pid"

    def open_log(self) -> BinaryIO:
        return self.account.open_to_append(self.log)

    def is_running(self) -> bool:
        lock = self._lock()
        if lock is None:
            return True
        _release(lock)
        return False

    def start(self, command: Callable[[], list[str]], answers: Callable[[], bool]) -> None:
        """Start the server with `command` if it is not running; return when it `answers`.

        `command` is called only if no process of an earlier server is left, so it may clean up
        after that one.

        Raises:
            ServiceError: The server ended, or did not answer in time.
        """
        started = False
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            lock = self._lock()
            # The lock is free although we started it: it has ended again.
            if lock is not None and started:
                _release(lock)
                raise ServiceError(with_last_lines(f"{self.name} did not start", self.log))
            if lock is not None:
                # The server has inherited the lock: closing our copy leaves it locked.
                with lock:
                    self._launch(command(), lock)
                started = True
            elif time.monotonic() > deadline:
                reason = f"{self.name} runs, but did not answer within {START_SECONDS:.0f} s"
                raise ServiceError(with_last_lines(reason, self.log))
            time.sleep(POLL_SECONDS)

    def stop(self, polite: signal.Signals, forced: signal.Signals) -> bool:
        """Stop the server; return False if it was not running.

        Raises:
            ServiceError: The server still runs after both signals.
        """
        if not self.is_running():
            return False
        for number in (polite, forced):
            self._signal(number)
            if self._has_ended_within(STOP_SECONDS):
                self._pid_file.unlink(missing_ok=True)
                return True
        raise ServiceError(with_last_lines(f"{self.name} does not stop", self.log))

    def _lock(self) -> BinaryIO | None:
        """Acquire and return the lock; None if the server or one of its children holds it."""
        file = self.account.open_to_append(self.folder / "server.lock")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def _launch(self, command: list[str], lock: BinaryIO) -> None:
        self.account.open_to_append(self._pid_file).close()
        with self.open_log() as log:
            subprocess.run(
                ["/bin/sh", "-c", BACKGROUND, "sh", str(self._pid_file), *command],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.kill(int(self._pid_file.read_text()), number)
        except ProcessLookupError:
            return  # only its children are left, which end by themselves
        except (OSError, ValueError) as error:
            raise ServiceError(
                f"{self.name} runs, but cannot be stopped by {self._pid_file}: {error}"
            ) from error

    def _has_ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def _release(lock: BinaryIO) -> None:
    # Closing is not enough: a process that another thread is just forking may have a copy open.
    fcntl.flock(lock, fcntl.LOCK_UN)
    lock.close()
