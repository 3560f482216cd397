"""What can go wrong on this machine: a server, or a worker, that does not stay up."""

from collections import deque
from pathlib import Path


class LocalError(Exception):
    """Base class: a process that this command looks after is not as it should be."""


class ServiceError(LocalError):
    """An embedded service cannot be started, reached or stopped. The message says where to look."""


class WorkerCrashed(LocalError):
    """A local worker dies again and again. The message ends with the end of its log."""


def with_last_lines(message: str, log: Path, count: int = 15) -> str:
    """Return `message`, followed by the name of `log` and its last `count` lines."""
    if not log.exists():
        return f"{message} (it left no log at {log})"
    with log.open(encoding="utf-8", errors="replace") as file:
        lines = deque(file, maxlen=count)
    return "\n".join([f"{message}; the end of {log}:", *(f"  {line.rstrip()}" for line in lines)])
