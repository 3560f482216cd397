"""How long a run stands still although nothing keeps it from going on."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.exc import DBAPIError

from db import run_locks
from db.session import Patience
from tests.chaos.world import World

_PROGRESS = """
    SELECT (SELECT count(*) FROM call) AS calls,
           (SELECT count(*) FROM repeated_call) AS repeated,
           (SELECT count(*) FROM run WHERE state = 'done') AS done,
           (SELECT count(*) FROM collect_part) AS parts,
           (SELECT count(*) FROM batch_request) AS requests,
           (SELECT string_agg(CAST(state AS text), ',' ORDER BY id) FROM shard) AS shards,
           (SELECT string_agg(CAST(state AS text), ',' ORDER BY id) FROM batch) AS batches
"""


def longest_allowed_s(lease_s: float, *, is_batched: bool) -> float:
    """Return two leases: of a shard, of a transaction, or of the lock on a run's batches."""
    transaction_s = Patience.of_lease(lease_s).idle_s
    return 2 * max(lease_s, transaction_s, run_locks.LEASE_S if is_batched else 0.0)


class StandStill:
    """Watches a run. `longest_s` is the longest time without any change that nothing explains."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: Any = None
        self._since: float | None = None
        self.longest_s = 0.0
        self.has_changed = False

    def look(self, now: float, explained_until: Iterable[float]) -> None:
        """Compare the run with the last look, unless a fault explains until later why it stands."""
        try:
            seen = self._world.rows(_PROGRESS)[0]
        except DBAPIError:
            seen = None
        self.has_changed = seen is not None and seen != self._seen
        if seen is not None:
            self._seen = seen
        is_explained = any(now < until for until in explained_until)
        if self.has_changed or is_explained or not self._world.can_go_on():
            self._since = None
        elif self._since is None:
            self._since = now
        else:
            self.longest_s = max(self.longest_s, now - self._since)
