"""Waiting for a server that is not there, as while it restarts or loads its model.

An outage is of the server: a single call that fails while others are answered is none.
"""

import errno
import logging
import socket
import time
from collections.abc import Callable

import httpx

from neurogloss.errors import EndpointAway, EndpointUnreachable, RateLimited, TransientError

log = logging.getLogger(__name__)

_SINGLE_FAILURES = 3  # fewer in a row are faults of single calls
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 1.0, 15.0
_NOBODY = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
# A short outage is noticed to be over at once, and a long one is not asked about every second.
_LATER_BY = 0.25  # of the time that the server has been away already


Tell = Callable[[str | None], None]
"""Tells others why an endpoint is waited for; with None, that it is no longer."""


def tell_nobody(reason: str | None) -> None:
    """Tell nobody why an endpoint is waited for."""


class Outage:
    """Whether an endpoint is away, and until when it is waited for.

    Args:
        endpoint: Its name, for messages.
        wait_s: How long it is waited for.
        tell: Called at every wait, and at its end.
    """

    def __init__(self, endpoint: str, wait_s: float, tell: Tell = tell_nobody) -> None:
        self._endpoint, self._wait_s, self._tell = endpoint, wait_s, tell
        self._failures = 0
        self._since: float | None = None
        self._is_logged = False

    def wait_for(self, error: TransientError, patience: int = _SINGLE_FAILURES) -> float | None:
        """Note a failure; return the seconds after which to try again, None if this is no outage.

        Args:
            error: The failure.
            patience: How many failures in a row are an outage, where the server asks for no wait.

        Raises:
            EndpointUnreachable: It has been away for longer than it is waited for.
        """
        if not is_away(error) and not isinstance(error, RateLimited):
            return None
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        self._failures += 1
        asked = error.retry_after if isinstance(error, EndpointAway | RateLimited) else None
        if asked is None and self._failures < patience:
            return None
        return self._wait(error, asked, now - self._since)

    def _wait(self, error: TransientError, asked: float | None, away_s: float) -> float:
        if away_s >= self._wait_s:
            self._tell(None)
            raise EndpointUnreachable(
                f"{self._endpoint}: {error}; it was waited for {away_s:.0f} s "
                f"(endpoints.{self._endpoint}.wait_s)"
            )
        if not self._is_logged:
            fields = {"endpoint": self._endpoint, "wait_s": self._wait_s, "reason": str(error)}
            log.warning("endpoint away", extra=fields)
            self._is_logged = True
        self._tell(str(error))
        wait = min(_LONGEST_WAIT_S, max(_SHORTEST_WAIT_S, _LATER_BY * away_s))
        left = max(_SHORTEST_WAIT_S, self._wait_s - away_s)
        return min(left, max(wait, asked or 0.0))

    def end(self) -> None:
        """Note that the endpoint has answered."""
        if self._is_logged and self._since is not None:
            seconds = round(time.monotonic() - self._since, 1)
            log.info("endpoint back", extra={"endpoint": self._endpoint, "seconds": seconds})
            self._tell(None)
        self._failures, self._since, self._is_logged = 0, None, False


def is_away(error: BaseException) -> bool:
    """Return whether a server said that it is not ready, or nobody takes the connection."""
    return isinstance(error, EndpointAway) or any(map(_is_not_there, _causes(error)))


def is_unknown_host(error: BaseException) -> bool:
    """Return whether the name of the host is not known, as after a slip of the pen."""
    return any(isinstance(cause, socket.gaierror) for cause in _causes(error))


def is_dropped(error: BaseException) -> bool:
    """Return whether a connection was made and broke before a response, or within it."""
    kinds = (httpx.NetworkError, httpx.RemoteProtocolError)
    return any(isinstance(cause, kinds) for cause in _causes(error))


def _is_not_there(cause: BaseException) -> bool:
    is_nobody = isinstance(cause, OSError) and cause.errno in _NOBODY
    return is_nobody or isinstance(cause, socket.gaierror)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and the errors that caused it, in its chain or its group."""
    found: list[BaseException] = [error]
    for cause in found:
        inner = [cause.__cause__ or cause.__context__, getattr(cause, "os_error", None)]
        inner += cause.exceptions if isinstance(cause, BaseExceptionGroup) else []
        known = set(map(id, found))
        found += [i for i in inner if isinstance(i, BaseException) and id(i) not in known]
    return found
