"""The command line as people use it, on services of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class CommandLine:
    """Runs `neurogloss` with a state folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
        self.env |= {"NEUROGLOSS_HOME": str(home), "NEUROGLOSS_LEASE_SECONDS": "4"}
        self.env |= {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "orchestrator", *arguments]
        return subprocess.Popen(
            command,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, timeout: float = 120, **env: str) -> tuple[int, str]:
        """Return the exit code and the output."""
        process = self.start(*arguments, **env)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            pytest.fail(f"neurogloss {' '.join(arguments)} takes too long:\n{output}")
        return process.returncode, output

    def config(self, text: str) -> str:
        """Write a configuration and return its path."""
        self.home.mkdir(exist_ok=True)
        path = self.home / "run.toml"
        path.write_text(text)
        return str(path)

    def pids(self, words: str) -> list[int]:
        """Return the processes of this state folder whose command line has these words."""
        found = subprocess.run(["pgrep", "-f", words], capture_output=True, text=True, check=False)
        return [pid for pid in map(int, found.stdout.split()) if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return str(self.home).encode() in environ + command

    def kill(self, words: str) -> int:
        """Kill these processes at once; return how many there were."""
        pids = self.pids(words)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)


@pytest.fixture
def cli() -> Iterator[CommandLine]:
    with tempfile.TemporaryDirectory(prefix="neurogloss-cli-") as folder:
        Path(folder).chmod(0o755)
        command_line = CommandLine(Path(folder) / "home")
        yield command_line
        command_line.run("stop")
        time.sleep(0.1)
