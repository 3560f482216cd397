"""Cancelling the batches of a run. Answers that were given before are paid, so they are stored."""

import logging
from collections.abc import Callable
from contextlib import closing

from db import batches
from db.batches import StoredBatch
from db.run_locks import RunLock
from db.session import transaction
from neurogloss.errors import TransientError
from neurogloss.llm.batch_client import BatchClient
from neurogloss.llm.endpoint import Endpoint
from worker.shard import RunJob
from worker.stages.batches.advance import PURPOSE
from worker.stages.batches.results import batch_fields, collect

log = logging.getLogger(__name__)

ENDED = ("failed", "completed", "expired", "cancelled")
Connect = Callable[[Endpoint], BatchClient]


def cancel_batches(job: RunJob, connect: Connect = BatchClient) -> int:
    """Cancel batches at their endpoints, collect those that have ended, return how many have not.

    An endpoint takes minutes to cancel a batch: call this again until none is left.

    Raises:
        RunError: An endpoint refuses the key.
    """
    # The lock under which batches are advanced: no two processes collect the same batch.
    with RunLock(job.engine, PURPOSE) as lock:
        if lock.try_acquire(job.run_id):
            for batch in _under_way(job):
                _cancel(job, batch, connect)
    return len(_under_way(job))


def _under_way(job: RunJob) -> list[StoredBatch]:
    with transaction(job.engine) as connection:
        return list(batches.under_way(connection, job.run_id))


def _cancel(job: RunJob, batch: StoredBatch, connect: Connect) -> None:
    endpoint = job.endpoint(batch.endpoint)
    with closing(connect(endpoint)) as client:
        try:
            # A process that died after sending a batch could not store its id: it is found by its
            # mark.
            batch_id = batch.batch_id or client.find(batch.mark)
            if batch_id is None:
                _end_unsent(job, batch)
                return
            if batch.batch_id is None:
                batch = _with_id(job, batch, batch_id)
            status = client.get(batch_id)["status"]
            if status in ENDED:
                collect(job, endpoint, client, batch)
            elif status != "cancelling":
                client.cancel(batch_id)
        except TransientError as error:
            fields = batch_fields(job, batch) | {"reason": str(error)}
            log.warning("batch cannot be cancelled yet", extra=fields)


def _end_unsent(job: RunJob, batch: StoredBatch) -> None:
    with transaction(job.engine) as connection:
        batches.end(connection, batch, "cancelled", attempts=0)


def _with_id(job: RunJob, batch: StoredBatch, batch_id: str) -> StoredBatch:
    with transaction(job.engine) as connection:
        batches.submitted(connection, batch.id, batch_id)
    return next(row for row in _under_way(job) if row.id == batch.id)
