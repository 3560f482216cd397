"""The progress of a command that goes through steps."""

import time
from datetime import timedelta
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
        self._began = self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def step(self, what: str, done: int, total: int | None) -> None:
        """Show what is being done and how much of it, its rate, and the time left of `total`."""
        pause = LIVE_EVERY_S if self._status is not None else PLAIN_EVERY_S
        if time.monotonic() - self._said_at < pause:
            return
        self._said_at = time.monotonic()
        line = f"{self._doing} {what}: {_how_far(done, total, self._said_at - self._began)}"
        if self._status is not None:
            self._status.update(line)
        else:
            self._console.print(line, markup=False, highlight=False)


def _how_far(done: int, total: int | None, seconds: float) -> str:
    """Return how much of what is done, a second, and the time left at that rate."""
    rate = done / max(seconds, 1e-3)
    of_all = "" if total is None else f" of {total:,}"
    left = (total or 0) - done
    in_time = f", {timedelta(seconds=round(left / rate))} left" if left > 0 and rate > 0 else ""
    return f"{done:,}{of_all}, {rate:,.0f} a second{in_time}"
