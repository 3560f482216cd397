"""Waiting for a database that is away: the work in hand, and what was paid for it, is not lost."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from db.session import is_away

log = logging.getLogger(__name__)
T = TypeVar("T")

LONGEST_PAUSE_S = 10.0  # between two attempts: work goes on soon after an outage ends


def retry_while_db_down(action: Callable[[], T], stop: threading.Event | None = None) -> T:
    """Return what `action` returns, once the database lets it, however long that takes.

    Args:
        action: Whole transactions. Done again where it was committed and the word of that got lost.
        stop: When set, nothing is waited for any more, and the last error is raised.
    """
    outage = OutageLog()
    event = stop or threading.Event()
    retrying = Retrying(
        retry=retry_if_exception(is_away),
        # At random, so that all workers do not come down on a server in the moment it is back.
        wait=wait_random_exponential(multiplier=0.2, max=LONGEST_PAUSE_S),
        stop=stop_when_event_set(event),
        sleep=sleep_using_event(event),
        before_sleep=lambda state: outage.began("database", _error_of(state)),
        reraise=True,
    )
    result = retrying(action)
    outage.ended()
    return result


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


class OutageLog:
    """Logs when a service goes away, and when it is back: once each, however often it is tried."""

    def __init__(self) -> None:
        self._service, self._began_at = "", 0.0

    def began(self, service: str, error: BaseException | None) -> None:
        """Note that a service, `database` or `redis`, does not answer."""
        if not self._service:
            reason = first_line_of(error)
            log.warning("service away", extra={"service": service, "reason": reason})
            self._service, self._began_at = service, time.monotonic()

    def ended(self) -> None:
        """Note that all services answer."""
        if self._service:
            seconds = round(time.monotonic() - self._began_at, 1)
            log.info("service back", extra={"service": self._service, "seconds": seconds})
            self._service = ""


def first_line_of(error: BaseException | None) -> str:
    """Return the first line of what a service, or its driver, says of an error."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
