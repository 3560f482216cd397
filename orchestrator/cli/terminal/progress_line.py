"""How far a command is that goes through steps."""

import time
from typing import Self

from rich.console import Console

LIVE_EVERY_S = 0.2
PLAIN_EVERY_S = 10.0  # where the output is no terminal: it may be a log file


class ProgressLine:
    """A line on stderr that changes in a terminal; elsewhere, a new line now and then.

    `doing` is what the command does, as in "verifying".
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._console = Console(stderr=True)
        is_live = self._console.is_terminal
        self._status = self._console.status(doing) if is_live else None
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def step(self, what: str, done: int, total: int) -> None:
        """Show what is being done, and how much of all of it is."""
        pause = LIVE_EVERY_S if self._status is not None else PLAIN_EVERY_S
        if time.monotonic() - self._said_at < pause:
            return
        self._said_at = time.monotonic()
        line = f"{self._doing} {what}: {done:,} of {total:,}"
        if self._status is not None:
            self._status.update(line)
        else:
            self._console.print(line, markup=False, highlight=False)
