"""Storing answers in batches, in threads, as they arrive."""

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress

from neurogloss.llm.calls import Answer, Ledger

log = logging.getLogger(__name__)

BATCH = 256  # answers in one statement: what a busy process gets while one is stored
BATCH_WAIT_S = 0.005  # answers that arrive within it share a statement

Entry = tuple[Ledger, Answer, asyncio.Future[None]]


class AnswerWriter:
    """Stores the answers of all runs of a process. Belongs to an event loop."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Entry] = asyncio.Queue()
        self._writing: asyncio.Task[None] | None = None

    async def store(self, ledger: Ledger, answer: Answer) -> None:
        """Return when the answer is stored. It is stored even if the caller is cancelled meanwhile.

        Raises:
            Exception: Any that the ledger raises.
        """
        stored = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((ledger, answer, stored))
        # The task ends when the queue is empty, so that no loop runs while nothing is called.
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._run())
        await stored

    async def close(self) -> None:
        """Return when everything is stored."""
        if self._writing is not None:
            with suppress(asyncio.CancelledError):
                await self._writing

    async def _run(self) -> None:
        while not self._queue.empty():
            await asyncio.sleep(BATCH_WAIT_S)
            # By the ledger, because each run has its own.
            batches: dict[int, list[Entry]] = defaultdict(list)
            for _ in range(min(BATCH, self._queue.qsize())):
                entry = self._queue.get_nowait()
                batches[id(entry[0])].append(entry)
            for batch in batches.values():
                await _write(batch)


async def _write(batch: list[Entry]) -> None:
    ledger = batch[0][0]
    failure: Exception | None = None
    try:
        # In a thread: the ledger blocks, for minutes while the database is away.
        await asyncio.to_thread(ledger.save, [answer for _, answer, _ in batch])
    except Exception as error:  # of any kind: it is raised where the answers are awaited
        log.exception("paid answers not stored", extra={"answers": len(batch)})
        failure = error
    for *_, stored in batch:
        if stored.done():  # the caller was cancelled
            continue
        if failure is not None:
            stored.set_exception(failure)
        else:
            stored.set_result(None)
