"""Ending the batches of a run that was cancelled. What is answered was paid for, and is stored."""

import logging
import os
from collections.abc import Callable
from contextlib import closing

from db import batches
from db.batches import StoredBatch
from db.session import transaction
from neurogloss.errors import TransientError
from neurogloss.llm.batch_client import BatchClient
from neurogloss.llm.endpoint import Endpoint
from worker.shard import RunJob
from worker.stages.batches.results import collect
from worker.stages.model_calls import endpoint_of

log = logging.getLogger(__name__)

ENDED = ("failed", "completed", "expired", "cancelled")
Connect = Callable[[Endpoint], BatchClient]


def cancel_batches(errand: RunJob, connect: Connect = BatchClient) -> int:
    """Cancel batches at their endpoints, take over those that have ended, return how many have not.

    An endpoint takes minutes to cancel: call it again until none is left.

    Raises:
        RunError: An endpoint does not let us in.
    """
    with errand.engine.connect() as guard:
        guard = guard.execution_options(isolation_level="AUTOCOMMIT")
        if batches.lock(guard, errand.run_id):
            try:
                for batch in _under_way(errand):
                    _cancel(errand, batch, connect)
            finally:
                batches.unlock(guard, errand.run_id)
    return len(_under_way(errand))


def _under_way(errand: RunJob) -> list[StoredBatch]:
    with transaction(errand.engine) as connection:
        return list(batches.under_way(connection, errand.run_id))


def _cancel(errand: RunJob, batch: StoredBatch, connect: Connect) -> None:
    endpoint = endpoint_of(errand.config, batch.endpoint, os.environ)
    with closing(connect(endpoint)) as client:
        try:
            batch_id = batch.batch_id or client.find(batch.mark)
            if batch_id is None:
                _end_unsent(errand, batch)
                return
            if batch.batch_id is None:
                batch = _with_id(errand, batch, batch_id)
            status = client.get(batch_id)["status"]
            if status in ENDED:
                collect(errand, endpoint, client, batch)
            elif status != "cancelling":
                client.cancel(batch_id)
        except TransientError as error:
            log.warning("batch %s cannot be cancelled yet: %s", batch.mark, error)


def _end_unsent(errand: RunJob, batch: StoredBatch) -> None:
    with transaction(errand.engine) as connection:
        batches.end(connection, batch, "cancelled", attempts=0)


def _with_id(errand: RunJob, batch: StoredBatch, batch_id: str) -> StoredBatch:
    with transaction(errand.engine) as connection:
        batches.submitted(connection, batch.id, batch_id)
    return next(row for row in _under_way(errand) if row.id == batch.id)
