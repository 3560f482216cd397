"""Logging the attempts that bring no answer, while they are made: thousands of calls, few lines."""

import logging
import time

log = logging.getLogger(__name__)

_EVERY_S = 10.0  # between two lines of a log: hundreds of calls may fail at once


class FailureLog:
    """The failed attempts of one model: the first is logged at once, later ones are counted."""

    def __init__(self, endpoint: str, every_s: float = _EVERY_S) -> None:
        self._endpoint, self._every_s = endpoint, every_s
        self._attempts = 0
        self._next_at = 0.0

    def note(self, model: str, error: Exception) -> None:
        """Note an attempt that is made again, or was the last one."""
        self._attempts += 1
        now = time.monotonic()
        if now >= self._next_at:
            fields = {"endpoint": self._endpoint, "model": model, "attempts": self._attempts}
            log.warning("calls without an answer", extra=fields | {"reason": str(error)})
            self._attempts, self._next_at = 0, now + self._every_s
