"""Supervise the workers of a run on this machine."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from neurogloss.config.settings import GPU_INDEX
from orchestrator.local.errors import WorkerCrashed, with_last_lines
from worker.parent_watch import PARENT_FD

# A worker that dies this often in this time will not recover: its model or its code is at fault.
CRASHES = 5
CRASH_SECONDS = 60.0


def worker_command(kind: str, name: str) -> list[str]:
    """Return the command line of one worker of the queue `kind`: `gpu` or `api`."""
    return [sys.executable, "-m", "orchestrator", "worker", kind, "--name", name]


class LocalWorkers:
    """Celery workers in child processes, which run as long as the context is open.

    They are in sessions of their own, so that Ctrl-C reaches only the command, which then ends
    them. If the command is killed, they end too, since they call
    `worker.parent_watch.exit_with_parent`. Each of several GPU workers uses a GPU of its own, or a
    share of the processor's cores.

    Args:
        gpu: The number of workers of the queue `gpu`.
        api: The number of workers of the queue `api`.
        env: Their environment variables in addition to those of this process.
        log_folder: Folder of their logs, `gpu-1.log` and so on; created if missing.
        command: Returns the command line for a kind and a name.
        grace: Seconds from SIGTERM to SIGKILL when the context closes.
    """

    def __init__(
        self,
        *,
        gpu: int,
        api: int,
        env: Mapping[str, str],
        log_folder: Path,
        command: Callable[[str, str], list[str]] = worker_command,
        grace: float = 20.0,
    ) -> None:
        counts = {"gpu": gpu, "api": api}
        self._kinds = {f"{kind}-{i + 1}": kind for kind in counts for i in range(counts[kind])}
        self._env = {**_threads_of_each(gpu), **os.environ, **env}
        self._log_folder = log_folder
        self._command = command
        self._grace = grace
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._deaths: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=CRASHES))
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            # Neither end is inherited by default; only the read end is passed to the workers.
            self._parent_end, write_end = os.pipe()
            opened.callback(os.close, write_end)
            opened.callback(os.close, self._parent_end)
            opened.callback(self._stop_all)
            for name in self._kinds:
                self._start(name)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def ensure_alive(self) -> list[str]:
        """Restart the workers that have died; return a line about each.

        Raises:
            WorkerCrashed: A worker died `CRASHES` times within `CRASH_SECONDS`.
        """
        return [self._restart(name) for name, child in self._children.items() if _has_ended(child)]

    def _start(self, name: str) -> None:
        with self._log(name).open("ab") as log:
            self._children[name] = subprocess.Popen(
                self._command(self._kinds[name], name),
                env={
                    **self._env,
                    PARENT_FD: str(self._parent_end),
                    GPU_INDEX: str(int(name.rpartition("-")[2]) - 1),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self._parent_end,),
            )

    def _restart(self, name: str) -> str:
        code = self._children[name].returncode
        deaths = self._deaths[name]
        deaths.append(time.monotonic())
        if len(deaths) == CRASHES and deaths[-1] - deaths[0] < CRASH_SECONDS:
            reason = f"{name} died {CRASHES} times within {CRASH_SECONDS:.0f} s (exit code {code})"
            raise WorkerCrashed(with_last_lines(reason, self._log(name)))
        self._start(name)
        return f"{name} died (exit code {code}): restarted"

    def _stop_all(self) -> None:
        for child in self._children.values():
            child.terminate()
        try:
            self._wait_for_all()
        finally:  # a second Ctrl-C cuts the wait short
            for child in self._children.values():
                _kill_group(child)
                child.wait()

    def _wait_for_all(self) -> None:
        deadline = time.monotonic() + self._grace
        for child in self._children.values():
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))

    def _log(self, name: str) -> Path:
        return self._log_folder / f"{name}.log"


def _threads_of_each(n_workers: int) -> dict[str, str]:
    """Return the variable by which torch shares the cores among workers; nothing for one."""
    # By itself each worker has as many threads as there are cores, which then wait for each other.
    # The number of threads changes no bit of what a model computes.
    shared = max(1, (os.cpu_count() or 1) // max(1, n_workers))
    return {"OMP_NUM_THREADS": str(shared)} if n_workers > 1 else {}


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Return whether `child` has ended; if so, also end the remaining processes of its pool."""
    if child.poll() is None:
        return False
    _kill_group(child)
    return True


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
