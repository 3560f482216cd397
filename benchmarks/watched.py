"""The processes of a run and its databases, watched from outside while it goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

EVERY_S = 1.0
MEGABYTE = 1 << 20


@dataclass
class WatchedProcesses:
    """What was seen of a command, its children, and the servers of a home folder.

    Attributes:
        peaks: Most memory by kind of process, in MB: resident of the largest of ours, private of
            all of Postgres.
        cpu: Moments with CPU seconds by kind of process so far.
        sizes: Moments with the bytes of the database and of its WAL.
        longest_silence_s: Most seconds since the last heartbeat of a worker.
    """

    peaks: dict[str, float] = field(default_factory=dict)
    cpu: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    sizes: list[tuple[float, int, int]] = field(default_factory=list)
    longest_silence_s: float = 0.0

    def cpu_between(self, began: float, ended: float) -> dict[str, float]:
        """Return the CPU seconds that each kind took between two moments."""
        before, after = (self._cpu_at(moment) for moment in (began, ended))
        return {kind: round(after[kind] - before.get(kind, 0), 1) for kind in sorted(after)}

    def _cpu_at(self, moment: float) -> dict[str, float]:
        return min(self.cpu, key=lambda seen: abs(seen[0] - moment))[1]


class Watcher:
    """Looks at the processes of a home folder every second until `stop`.

    Args:
        home: Of the embedded services.
        look: Returns the bytes of the database, and the seconds since the oldest heartbeat.
    """

    def __init__(self, home: Path, look: Callable[[], tuple[int, float]]) -> None:
        self.seen = WatchedProcesses()
        self._home, self._ask = home, look
        self._kinds: dict[psutil.Process, str] = {}
        self._ended_cpu: dict[str, float] = {}
        self._last: dict[int, tuple[str, float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        turn = 0
        while not self._stopped.wait(EVERY_S):
            # Seldom, because to look takes the cores some of what is measured.
            self._look(with_memory=turn % 5 == 0)
            if turn % 5 == 0:
                with suppress(Exception):  # the database may be down, or not there yet
                    wal = self._home / "postgres" / "data" / "pg_wal"
                    n_bytes = sum(path.stat().st_size for path in wal.iterdir() if path.is_file())
                    size, silence = self._ask()
                    self.seen.sizes.append((time.time(), size, n_bytes))
                    self.seen.longest_silence_s = max(self.seen.longest_silence_s, silence)
            turn += 1

    def _look(self, *, with_memory: bool) -> None:
        now: dict[int, tuple[str, float]] = {}
        memory: dict[str, float] = {}
        for kind, process in processes_of(self._home, self._kinds):
            with suppress(psutil.Error):
                times = process.cpu_times()
                now[process.pid] = (kind, times.user + times.system)
                if with_memory or kind == "gpu worker":
                    own, others = _megabytes(kind, process), memory.get(kind, 0)
                    memory[kind] = own + others if kind == "postgres" else max(own, others)
        for pid in self._last.keys() - now.keys():
            kind, seconds = self._last[pid]
            self._ended_cpu[kind] = self._ended_cpu.get(kind, 0) + seconds
        self._last = now
        cpu = dict(self._ended_cpu)
        for kind, seconds in now.values():
            cpu[kind] = cpu.get(kind, 0) + seconds
        self.seen.cpu.append((time.time(), cpu))
        for kind, megabytes in memory.items():
            self.seen.peaks[kind] = max(self.seen.peaks.get(kind, 0), megabytes)


def processes_of(
    home: Path, known: dict[psutil.Process, str] | None = None
) -> Iterator[tuple[str, psutil.Process]]:
    """Yield each process that serves a home folder, with its kind, which is kept in `known`."""
    known = {} if known is None else known
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            kind = known.get(process) or _kind(process, home)
            if kind:
                known[process] = kind
                yield kind, process


def _kind(process: psutil.Process, home: Path) -> str | None:
    command = process.cmdline()
    line = " ".join(command)
    if str(home) in line and "postgres" in line and "-D" in command:
        return "postgres"
    if "redis" in line and str(home) in line:
        return "redis"
    if line.startswith("postgres:"):
        parent = process.parent()
        is_ours = parent is not None and str(home) in " ".join(parent.cmdline())
        return "postgres" if is_ours else None
    if "orchestrator" not in command or process.environ().get("NEUROGLOSS_HOME") != str(home):
        return None
    for kind in ("gpu", "api"):
        if kind in command:
            return f"{kind} worker"
    return "run" if "run" in command else None


def _megabytes(kind: str, process: psutil.Process) -> float:
    if kind != "postgres":
        return float(process.memory_info().rss) / MEGABYTE
    return float(process.memory_full_info().uss) / MEGABYTE  # without the buffers that they share
