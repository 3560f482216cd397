"""The shards that a process holds: their leases are renewed together, by its heartbeat."""

import time

from sqlalchemy import Engine

from db import shards
from db.session import transaction
from worker.shard import ClaimedShard


class HeldShards:
    """The newest claim of each shard. Safe to use from several threads."""

    def __init__(self) -> None:
        self._by_id: dict[int, ClaimedShard] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, shard: ClaimedShard) -> None:
        """Add a shard. An older claim to it, whose thread has not ended yet, is void."""
        older = self._by_id.get(shard.claim.shard_id)
        self._by_id[shard.claim.shard_id] = shard
        if older is not None:
            older.lease.end()

    def drop(self, shard: ClaimedShard) -> None:
        """Forget a shard, unless it has been claimed again since."""
        if self._by_id.get(shard.claim.shard_id) is shard:
            del self._by_id[shard.claim.shard_id]

    def renew(self, engine: Engine, lease_s: float) -> None:
        """Renew all leases, and end those of shards that others have."""
        # Taken before the database is asked, so that a lease ends here no later than there.
        asked_at = time.monotonic()
        # A copy: the threads of shards add and drop entries meanwhile.
        held = list(self._by_id.values())
        if not held:
            return
        with transaction(engine) as connection:
            fractions = [shard.lease.fraction for shard in held]
            claims = [shard.claim for shard in held]
            renewed = shards.renew(connection, claims, lease_s, fractions)
            others = [shard.claim for shard in held if shard.claim.shard_id not in renewed]
            ours = shards.still_held(connection, others) if others else set()
        for shard in held:
            # While it commits, nobody else can take it. Where another transaction holds it, the
            # lease is what it was: it may be taken once that one ends.
            if shard.claim.shard_id in renewed or shard.lease.is_committing:
                shard.lease.renew(asked_at + lease_s)
            elif shard.claim.shard_id not in ours:
                shard.lease.end()
