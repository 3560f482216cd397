"""A claimed shard: its lease, and the transaction that commits its results."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from db import progress, shards
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import LeaseLost


@dataclass(frozen=True, slots=True)
class RunJob:
    """What is done for a run as a whole."""

    engine: Engine
    run_id: int
    config: RunConfig
    stop: threading.Event  # set when the process is told to stop


class Lease:
    """How long a worker may take a shard for its own.

    Counted by a clock that nobody can set, from before the database was asked: so it ends no later
    than what the database knows, also for a process that was frozen meanwhile.
    """

    def __init__(self, process_stop: threading.Event, until: float) -> None:
        self._process_stop, self._until = process_stop, until

    def renew(self, until: float) -> None:
        """Let the lease end at this moment of `time.monotonic`."""
        self._until = until

    def has_ended(self) -> bool:
        """Return whether the shard may be another's by now, or the process is told to stop."""
        return self._process_stop.is_set() or time.monotonic() >= self._until


@dataclass(frozen=True, slots=True)
class ClaimedShard:
    """A shard that this process has claimed, with what its stage needs to do it."""

    engine: Engine
    claim: shards.Claim
    run: StoredRun
    config: RunConfig
    lease: Lease

    @property
    def neuron_range(self) -> tuple[int, int, int, int]:
        """The (run, layer, start, stop) of a shard of neurons."""
        return self.claim.run_id, self.claim.layer, self.claim.start, self.claim.stop

    @contextmanager
    def committing(self) -> Iterator[Connection]:
        """Open the transaction in which the results are stored, counted, and the shard finished.

        Raises:
            LeaseLost: Another worker has the shard; nothing is stored.
        """
        with transaction(self.engine) as connection:
            if not shards.finish(connection, self.claim):
                raise LeaseLost(f"shard {self.claim.shard_id} is not ours any more")
            yield connection
            progress.count_shard(connection, self.claim.shard_id)
