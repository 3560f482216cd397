"""What the benchmarks of calls run on: embedded services, a rehearsal server, fresh processes."""

import json
import multiprocessing
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.local.services import ServiceUrls, start_services, stop_services


@contextmanager
def services() -> Iterator[ServiceUrls]:
    """Run Postgres and Redis of their own."""
    with tempfile.TemporaryDirectory(prefix="neurogloss-benchmark-") as folder:
        Path(folder).chmod(0o755)  # as root, Postgres runs under another account
        home = Path(folder) / "home"
        try:
            yield start_services(home)
        finally:
            stop_services(home)


class RehearsalProcess:
    """A rehearsal server in a process of its own."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def stats(self) -> dict[str, Any]:
        """Return its account."""
        url = self.base_url.removesuffix("/v1") + "/rehearsal/stats"
        with urllib.request.urlopen(url) as response:
            found: dict[str, Any] = json.load(response)
        return found


@contextmanager
def rehearsal_server(*options: str) -> Iterator[RehearsalProcess]:
    """Run `neurogloss rehearsal-server` on a free port."""
    command = [sys.executable, "-m", "orchestrator", "rehearsal-server", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield RehearsalProcess(process.stdout.readline().split()[0])
    finally:
        process.terminate()
        process.wait()


def in_processes(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return what a function gives for each of these arguments, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(len(arguments)) as pool:
        return pool.starmap(function, arguments)
