"""Somebody who enters commands about the run, on a machine of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.chaos.child import Child

ROOT = Path(__file__).parents[2]


class Operator:
    """Enters commands and does not wait for their end.

    Args:
        child: Its links and its log; it is no process itself.
        environment: Returns the environment of its commands.
        batches: Returns how many batches the endpoint was asked for.

    Attributes:
        n_pauses: How many faults keep the run paused.
    """

    def __init__(
        self,
        child: Child,
        environment: Callable[[Child], dict[str, str]],
        batches: Callable[[], int],
    ) -> None:
        self.child, self._environment, self._batches = child, environment, batches
        self._commands: list[subprocess.Popen[bytes]] = []
        self._paused_after: dict[int, int] = {}  # by command: batches asked for
        self.n_pauses = 0

    def enter(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Enter a command."""
        with self.child.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", *arguments],
                env=self._environment(self.child),
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._commands.append(process)
        return process

    def look(self) -> None:
        """See which commands have ended."""
        for command in [command for command in self._commands if command.poll() is not None]:
            self._commands.remove(command)
            if command.returncode == 0:
                self._paused_after[command.pid] = self._batches()

    def pause(self, run: str) -> subprocess.Popen[bytes]:
        """Pause a run, whose dispatchers then wait for `resume`."""
        self.n_pauses += 1
        return self.enter("pause", run)

    def resume(self, pausing: subprocess.Popen[bytes]) -> int:
        """Let the run go on; return how many batches were created while it was paused."""
        if pausing.poll() is None:
            pausing.kill()
        self.n_pauses -= 1
        before = self._paused_after.pop(pausing.pid, None)
        return 0 if before is None else self._batches() - before

    def end(self) -> None:
        """End all commands and pauses."""
        for command in self._commands:
            command.kill()
            command.wait()
        self._commands.clear()
        self._paused_after.clear()
        self.n_pauses = 0
