"""The progress of a run as events of the log, for a service that may follow several runs."""

import logging
import time
from collections.abc import Callable

from db.progress import RunProgress
from orchestrator.cli.terminal.progress import SAME_EVERY_S, progress_line

log = logging.getLogger(__name__)

LOG_EVERY_S = 30.0


class ProgressLog:
    """Logs how far a run is twice a minute, unless nothing has changed.

    Args:
        name: The run's name.
        read: Reads the progress; None where it cannot be read now.
    """

    def __init__(self, name: str, read: Callable[[], RunProgress | None]) -> None:
        self._name, self._read = name, read
        # So that the first update logs: a monotonic clock may begin at 0.
        self._looked_at = -LOG_EVERY_S
        self._line, self._logged_at = "", 0.0

    def note(self, line: str) -> None:
        """Do nothing: what the run loop notes for a person to see, it also logs."""

    def update(self) -> None:
        """Log how far the run is, if it is time to."""
        now = time.monotonic()
        if now - self._looked_at < LOG_EVERY_S:
            return
        self._looked_at = now
        if (progress := self._read()) is None:
            return
        line = progress_line(progress)
        if line != self._line or now - self._logged_at >= SAME_EVERY_S:
            self._line, self._logged_at = line, now
            usd = round(sum(cost.usd for cost in progress.costs), 4)
            log.info("run progress", extra={"run": self._name, "done": line, "usd": usd})
