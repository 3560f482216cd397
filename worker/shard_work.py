"""A claimed shard, with what a stage needs to do it and to hand it in."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, RowMapping

from db import progress, shards
from db.session import transaction
from worker.errors import LeaseLost
from worker.run_config import RunConfig


@dataclass(frozen=True, slots=True)
class Errand:
    """What is done for a run as a whole."""

    engine: Engine
    run_id: int
    config: RunConfig
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class ShardWork:
    """One attempt at a shard."""

    engine: Engine
    claim: shards.Claim
    run: RowMapping
    config: RunConfig
    stop: threading.Event

    @property
    def neuron_range(self) -> tuple[int, int, int, int]:
        """The (run, layer, start, stop) of a shard of neurons."""
        return self.claim.run_id, self.claim.layer, self.claim.start, self.claim.stop

    @contextmanager
    def handing_in(self) -> Iterator[Connection]:
        """Open the transaction in which the results are stored, counted, and the shard finished.

        Raises:
            LeaseLost: Another worker has the shard; nothing is stored.
        """
        with transaction(self.engine) as connection:
            if not shards.finish(connection, self.claim):
                raise LeaseLost(f"shard {self.claim.shard_id} is not ours any more")
            yield connection
            progress.count_shard(connection, self.claim.shard_id)
