"""The calls that a process is about to make, so that no other one makes them at the same moment."""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

MOST_CLAIMS = 1000  # in one exchange, and those of a shard more


@dataclass(slots=True)
class ClaimChanges:
    """The changes of claims that an exchange tells the other processes.

    Attributes:
        wanted, released: Identities of calls. Those that are released come first.
        holds: Whether the process has claims afterwards, so that it counts as alive.
    """

    wanted: list[bytes] = field(default_factory=list)
    released: list[bytes] = field(default_factory=list)
    holds: bool = False


class Claims:
    """The claims of one process to calls of one model. Belongs to an event loop.

    They are sent by the exchanges of a limiter, and end with the process.
    """

    def __init__(self) -> None:
        self._requests: deque[tuple[Sequence[bytes], asyncio.Future[set[bytes]]]] = deque()
        self._sent: list[tuple[Sequence[bytes], asyncio.Future[set[bytes]]]] = []
        self._held: set[bytes] = set()
        self._released: list[bytes] = []

    def __bool__(self) -> bool:
        """Whether an exchange is due for them: other processes have to hear from this one."""
        return bool(self._requests or self._held or self._released)

    def request(self, identities: Sequence[bytes]) -> asyncio.Future[set[bytes]]:
        """Return a future of those calls that other processes have; the rest is claimed then."""
        found: asyncio.Future[set[bytes]] = asyncio.get_running_loop().create_future()
        self._requests.append((identities, found))
        return found

    def release(self, identities: Collection[bytes]) -> None:
        """End claims. Those that are not held are passed over."""
        self._released += [identity for identity in identities if identity in self._held]
        self._held.difference_update(identities)

    def changes(self) -> ClaimChanges:
        """Return what the next exchange is to say."""
        wanted: list[bytes] = []
        while self._requests and len(wanted) < MOST_CLAIMS:
            request = self._requests.popleft()
            if not request[1].cancelled():
                self._sent.append(request)
                wanted += request[0]
        released, self._released = self._released, []
        return ClaimChanges(wanted, released, bool(self._held or wanted))

    def exchanged(self, elsewhere: set[bytes]) -> None:
        """Take over the result of an exchange: which of the calls other processes have."""
        for identities, found in self._sent:
            others = elsewhere.intersection(identities)
            self._held.update(identity for identity in identities if identity not in others)
            # Nobody waits for these calls any more, so that others must not wait for this process.
            if found.cancelled():
                self.release(identities)
            else:
                found.set_result(others)
        self._sent = []

    def failed(self, changes: ClaimChanges) -> None:
        """Go on alone: the wanted calls are made here, even if another process makes them too."""
        # The exchange may have succeeded and its reply been lost: the claims must not stay.
        self._released += changes.released + changes.wanted
        for _, found in self._sent:
            if not found.cancelled():
                found.set_result(set())
        self._sent = []
