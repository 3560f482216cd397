"""Waiting for a database that is away: the work in hand, and what was paid for it, is not lost."""

import logging
import threading
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

LONGEST_PAUSE_S = 10.0


def retry_while_db_down(action: Callable[[], T], stop: threading.Event | None = None) -> T:
    """Return what `action` returns, once the database lets it, however long that takes.

    Args:
        action: Whole transactions. Done again where it was committed and the word of that got lost.
        stop: When set, nothing is waited for any more, and the last error is raised.
    """
    event = stop or threading.Event()
    retrying = Retrying(
        retry=retry_if_exception(is_away),
        wait=wait_random_exponential(multiplier=0.2, max=LONGEST_PAUSE_S),
        stop=stop_when_event_set(event),
        sleep=sleep_using_event(event),
        before_sleep=_say,
        reraise=True,
    )
    return retrying(action)


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    log.warning("the database is away, trying again in %.1f s: %s", pause, first_line_of(error))


def first_line_of(error: BaseException | None) -> str:
    """Return the first line of what a service, or its driver, says of an error."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
