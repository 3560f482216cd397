"""The batches of a run: submit calls that wait, collect answers.

Every step is stored before the next, so that the next task goes on after a crash: calls are put
into a batch, the file is uploaded, the batch is created under our mark, its id is stored. A batch
without an id is searched for by its mark before it is created: otherwise it could be created, and
paid for, twice. Of two that were created nevertheless, the second is cancelled at once.
"""

import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing

from sqlalchemy import Connection

from db import batch_requests, batches, runs
from db.batches import PendingRequest, StoredBatch
from db.run_locks import RunLock
from db.session import transaction
from neurogloss.errors import BudgetReached, RowError, TransientError
from neurogloss.llm.batch_client import BatchClient
from neurogloss.llm.endpoint import BATCH_PRICE_FACTOR, Endpoint
from worker.shard import RunJob
from worker.stages.batches.results import batch_fields, collect

log = logging.getLogger(__name__)

PURPOSE = "batches"
ATTEMPTS = 4  # batches that a call is in before it fails; a day each, at worst
CAUTION = 1.5  # factor on the price of prompts: their tokens are estimated from their characters
_LINE_BYTES = 200  # of a line, beside the body

Connect = Callable[[Endpoint], BatchClient]


def advance(job: RunJob, connect: Connect = BatchClient) -> None:
    """Bring all batches of a run one step on. Does nothing while another process does so.

    Raises:
        RunError: The whole run is affected.
    """
    with RunLock(job.engine, PURPOSE) as lock:
        if lock.try_acquire(job.run_id):
            for name in job.config.endpoints:
                _advance_endpoint(job, lock, name, connect)


def _advance_endpoint(job: RunJob, lock: RunLock, name: str, connect: Connect) -> None:
    with transaction(job.engine) as connection:
        under_way = [
            batch for batch in batches.under_way(connection, job.run_id) if batch.endpoint == name
        ]
        is_waited_for = any(
            group.endpoint == name for group in batches.groups(connection, job.run_id)
        )
    if not under_way and not is_waited_for:
        return
    endpoint = job.endpoint(name)
    with closing(connect(endpoint)) as client:
        batcher = _Batcher(job, lock, endpoint, client)
        for batch in under_way:
            batcher.bring_on(batch)
        batcher.submit()


class _Batcher:
    """The batches of a run at one endpoint."""

    def __init__(self, job: RunJob, lock: RunLock, endpoint: Endpoint, client: BatchClient) -> None:
        self._job, self._lock = job, lock
        self._endpoint, self._client = endpoint, client
        self._limits = job.config.endpoints[endpoint.name].batches

    def bring_on(self, batch: StoredBatch, *, is_fresh: bool = False) -> None:
        """Take the next step of a batch. A step that fails for now is left for the next task.

        Args:
            batch: Its row.
            is_fresh: It was built just now, so it cannot exist at the endpoint.
        """
        if self._job.stop.is_set():
            return
        try:
            match batch.state:
                case "building" if self._may_create():
                    self._create(batch, self._upload(batch))
                case "uploaded" if not is_fresh and (batch_id := self._client.find(batch.mark)):
                    self._save_id(batch, batch_id)
                case "uploaded":
                    self._create(batch, str(batch.file_id))
                case "submitted":
                    collect(self._job, self._endpoint, self._client, batch)
        except TransientError as error:
            log.warning("batch has to wait", extra=self._fields(batch) | {"reason": str(error)})
        except RowError as error:
            log.warning("batch refused", extra=self._fields(batch) | {"reason": str(error)})
            with transaction(self._job.engine) as connection:
                batches.end(connection, batch, str(error), attempts=1)

    def _upload(self, batch: StoredBatch) -> str:
        # Without the time-outs of `transaction`: this connection is idle while the file is
        # uploaded, which may take long.
        with self._job.engine.connect() as connection:
            bodies = batches.bodies(connection, batch.id)
            name = f"neurogloss-{batch.mark}.jsonl"
            file_id = self._client.upload(name, batch.path, bodies)
        with transaction(self._job.engine) as connection:
            batches.uploaded(connection, batch.id, file_id)
        return file_id

    def _create(self, batch: StoredBatch, file_id: str) -> None:
        if self._may_create():  # an upload takes a while
            self._save_id(batch, self._client.create(batch.path, file_id, batch.mark))

    def _may_create(self) -> bool:
        """Return whether calls may still be paid for: the run may be paused or cancelled by now.

        Nor may they once another process looks after the batches, as while this one was frozen.
        """
        with transaction(self._job.engine) as connection:
            state = runs.get(connection, self._job.run_id).state
            is_ours = self._lock.is_held(connection, self._job.run_id)
        return is_ours and state not in ("paused", "cancelled") and not self._job.stop.is_set()

    def _save_id(self, batch: StoredBatch, batch_id: str) -> None:
        with transaction(self._job.engine) as connection:
            is_the_first = batches.submitted(connection, batch.id, batch_id)
        if not is_the_first:
            # This process was frozen between its last look at the lock and the request: the one
            # that has the lock since has created the batch too.
            self._client.cancel(batch_id)
            log.warning("batch created twice", extra=self._fields(batch) | {"batch_id": batch_id})
            return
        fields = {"batch_id": batch_id, "model": batch.model, "calls": batch.n_requests}
        log.info("batch submitted", extra=self._fields(batch) | fields)

    def _fields(self, batch: StoredBatch) -> dict[str, object]:
        return batch_fields(self._job, batch)

    def submit(self) -> None:
        """Make batches of the calls that wait, as many as may be under way.

        Raises:
            BudgetReached: The budget may not cover the next call, and nothing is under way.
        """
        with transaction(self._job.engine) as connection:
            batch_requests.drop_answered(connection, self._job.run_id)
            batch_requests.give_up(connection, self._job.run_id, ATTEMPTS)
        while self._may_create() and (batch := self._build()) is not None:
            self.bring_on(batch, is_fresh=True)

    def _build(self) -> StoredBatch | None:
        with transaction(self._job.engine) as connection:
            batches.lock_building(connection, self._endpoint.base_url)
            for group in batches.groups(connection, self._job.run_id):
                is_full = group.n >= self._limits.max_lines
                if group.endpoint != self._endpoint.name:
                    continue
                if (is_full or group.oldest_s >= self._limits.fill_s) and (
                    batch := self._build_of(connection, group)
                ):
                    return batch
        return None

    def _build_of(self, connection: Connection, group: batches.Group) -> StoredBatch | None:
        room = batches.room(connection, group.endpoint, group.model)
        if room.batches >= self._limits.max_under_way:
            return None
        money = batches.money(connection, self._job.run_id)
        filling = _Filling(
            price=lambda row: self._highest_price(group.model, row),
            bytes_left=self._limits.max_bytes,
            tokens_left=min(room.limit, self._limits.max_enqueued_tokens or room.limit)
            - room.tokens,
            usd_left=money.left,
            may_be_too_large=room.batches == 0,
        )
        rows = batches.candidates(connection, self._job.run_id, group, self._limits.max_lines)
        filling.take(rows)
        if not filling.identities:
            if filling.lacks_money and money.held <= 0:
                raise BudgetReached(
                    f"the budget of {money.limit:.2f} USD is reached: "
                    f"{money.left:.2f} USD are left, less than a call may cost"
                )
            return None
        return batches.build(
            connection,
            self._job.run_id,
            group,
            str(uuid.uuid4()),
            filling.identities,
            tokens=filling.tokens,
            enqueued=room.tokens + filling.tokens,
            usd=filling.usd,
        )

    def _highest_price(self, model: str, row: PendingRequest) -> float:
        """Return the most that a call may cost, in USD."""
        price = self._endpoint.price(model)
        prompt = CAUTION * price.cost(row.prompt_tokens, 0, 0)
        return BATCH_PRICE_FACTOR * (prompt + price.cost(0, 0, row.max_completion_tokens))


class _Filling:
    """A batch that is being filled, within limits.

    Args:
        price: Returns the most that a call may cost, in USD.
        bytes_left, tokens_left, usd_left: Room in the batch.
        may_be_too_large: The first call goes in however large it is, because nothing is under way
            and there will never be more room.
    """

    def __init__(
        self,
        *,
        price: Callable[[PendingRequest], float],
        bytes_left: float,
        tokens_left: float,
        usd_left: float,
        may_be_too_large: bool,
    ) -> None:
        self._price = price
        self._bytes_left, self._tokens_left, self._usd_left = bytes_left, tokens_left, usd_left
        self._may_be_too_large = may_be_too_large
        self.identities: list[bytes] = []
        self.tokens = 0
        self.usd = 0.0
        self.lacks_money = False

    def take(self, rows: Sequence[PendingRequest]) -> None:
        """Take calls, in their order, up to the first that does not fit."""
        for row in rows:
            usd = self._price(row)
            self.lacks_money = self.usd + usd > self._usd_left
            if self.lacks_money or not self._fits(row):
                return
            self._bytes_left -= row.size + _LINE_BYTES
            self.identities.append(row.identity)
            self.tokens += row.prompt_tokens
            self.usd += usd

    def _fits(self, row: PendingRequest) -> bool:
        if self._may_be_too_large and not self.identities:
            return True
        tokens = self.tokens + row.prompt_tokens
        size = row.size + _LINE_BYTES
        return size <= self._bytes_left and tokens <= self._tokens_left
