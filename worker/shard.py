"""A claimed shard: its lease, and the transaction that commits its results."""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from db import progress, shards
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import LeaseLost
from neurogloss.llm.endpoint import Endpoint
from worker.process_calls import ProcessCalls


@dataclass(frozen=True, slots=True)
class RunJob:
    """The resources of a task that concerns a whole run.

    Attributes:
        stop: Set when the process is told to stop.
        env: Environment variables, for the keys of endpoints.
    """

    engine: Engine
    run_id: int
    config: RunConfig
    stop: threading.Event
    env: Mapping[str, str] = field(default_factory=dict)

    def endpoint(self, name: str) -> Endpoint:
        """Return an endpoint of the run, with its key.

        Raises:
            BadCredentials: The variable that should hold the key is not set, or holds no key.
        """
        return Endpoint.from_config(name, self.config.endpoints[name], self.env)


class Lease:
    """The time for which a worker has the right to a shard.

    Counted by the monotonic clock, from before the database was asked. So it ends no later than the
    lease in the database, also in a process that was frozen meanwhile.
    """

    def __init__(self, process_stop: threading.Event, until: float) -> None:
        self._process_stop, self._until = process_stop, until
        self.is_committing = False  # a transaction that finishes the shard is open
        self.fraction = 0.0  # of the shard that is done, as heartbeats tell

    def renew(self, until: float) -> None:
        """Set the end of the lease, in seconds of `time.monotonic`. One that was ended stays so."""
        if self._until > -math.inf:
            self._until = until

    def end(self) -> None:
        """End the lease: the claim is void."""
        self._until = -math.inf

    def process_stops(self) -> bool:
        """Return whether the process is told to stop."""
        return self._process_stop.is_set()

    def has_ended(self) -> bool:
        """Return whether another worker may have the shard, or the process is told to stop."""
        return self._process_stop.is_set() or time.monotonic() >= self._until


@dataclass(frozen=True, slots=True)
class ClaimedShard:
    """A shard that this process has claimed, with all that its stage needs.

    Attributes:
        calls: Makes its calls; the default makes none online.
    """

    engine: Engine
    claim: shards.Claim
    run: StoredRun
    config: RunConfig
    lease: Lease
    calls: ProcessCalls = field(default_factory=ProcessCalls)

    @property
    def log_fields(self) -> dict[str, str | int]:
        """The fields of events about the shard."""
        claim = self.claim
        return {
            "run": self.run.name,
            "stage": claim.stage,
            "shard": claim.shard_id,
            "attempt": claim.attempts,
        }

    @property
    def neuron_range(self) -> tuple[int, int, int, int]:
        """The (run, layer, start, stop) of a shard of neurons."""
        return self.claim.run_id, self.claim.layer, self.claim.start, self.claim.stop

    @contextmanager
    def committing(self) -> Iterator[Connection]:
        """Open the transaction that stores and counts the results and finishes the shard.

        Raises:
            LeaseLost: Another worker has the shard; nothing is stored.
        """
        try:
            with transaction(self.engine) as connection:
                # First of all, because it locks the row: no other worker can claim the shard until
                # the commit.
                if not shards.finish(connection, self.claim):
                    raise LeaseLost(f"shard {self.claim.shard_id} is not ours any more")
                self.lease.is_committing = True
                yield connection
                # Last of all: the counters of a layer are shared by its shards, and are locked from
                # here to the commit.
                progress.count_shard(connection, self.claim.shard_id)
        finally:
            self.lease.is_committing = False
