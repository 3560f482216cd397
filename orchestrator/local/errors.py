"""Errors of the processes on this machine: embedded servers and local workers."""

from collections import deque
from pathlib import Path


class LocalError(Exception):
    """Base class of errors of a process that a command supervises."""


class ServiceError(LocalError):
    """An embedded service cannot be started, reached or stopped. The message names its log."""


class WorkerCrashed(LocalError):
    """A local worker died repeatedly. The message ends with the last lines of its log."""


def with_last_lines(message: str, log: Path, count: int = 15) -> str:
    """Return `message`, followed by the name of `log` and its last `count` lines."""
    if not log.exists():
        return f"{message} (it left no log at {log})"
    with log.open(encoding="utf-8", errors="replace") as file:
        lines = deque(file, maxlen=count)
    return "\n".join([f"{message}; the end of {log}:", *(f"  {line.rstrip()}" for line in lines)])
