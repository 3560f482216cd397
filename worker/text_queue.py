"""Texts that people ask about go before shards: a GPU worker answers them while it holds no shard.

Nobody sends a message for a text. A worker looks before each shard, and once a second while it is
idle. The function that answers a text is an argument, since it needs torch.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import text_queue
from db.session import is_away, transaction
from db.text_queue import TextClaim
from db.text_results import TextResult
from neurogloss.errors import NeuroglossError
from worker.outages import OutageLog, first_line_of, retry_while_db_down

log = logging.getLogger(__name__)

LOOK_S = 1.0  # seconds between looks of an idle worker
STOP_S = 10.0  # for the text in progress to end, once the worker is told to stop

Answer = Callable[[Engine, TextClaim], TextResult]


class TextFailed(NeuroglossError):
    """A text without a result, and why; `error_class` as in `db.texts.TextRequest`."""

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(error_class, message)
        self.error_class, self.message = error_class, message

    def __str__(self) -> str:
        return self.message


class TextQueue:
    """The texts of a worker process.

    Args:
        engine: Of the database.
        worker: Its name.
        lease_s: Length of a lease.
        stop: Set when the process is told to stop.
    """

    def __init__(self, engine: Engine, worker: str, lease_s: float, stop: threading.Event) -> None:
        self._engine, self._worker, self._lease_s, self._stop = engine, worker, lease_s, stop
        self._model = threading.Lock()  # held while the model is in use: it has hooks on it
        self._held: TextClaim | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def before_shard(self, answer: Answer) -> Iterator[None]:
        """Answer what waits, and keep the model for a shard to the end of the block."""
        with self._model:
            try:
                self._answer_all(answer)
            except SQLAlchemyError as error:  # the shard has to wait for the database as well
                log.warning("texts have to wait", extra={"reason": first_line_of(error)})
            yield

    def watch(self, answer: Answer) -> None:
        """Answer texts from now on, also while there is no shard."""
        self._thread = threading.Thread(
            target=self._watch, args=(answer,), name="texts", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """Wait a little for the text in progress, once the process is told to stop."""
        if self._thread is not None:
            self._thread.join(STOP_S)

    def renew(self) -> None:
        """Renew the lease of the text in progress."""
        # Read once: the thread of texts may set it to None between the check and its use.
        held = self._held
        if held is not None:
            with transaction(self._engine) as connection:
                text_queue.renew(connection, held, self._lease_s)

    def _watch(self, answer: Answer) -> None:
        outage = OutageLog()
        while not self._stop.wait(LOOK_S):
            if not self._model.acquire(blocking=False):
                continue  # a shard has it, and a look comes before the next
            try:
                self._answer_all(answer)
                outage.ended()
            except SQLAlchemyError as error:
                outage.began("database", error)
            finally:
                self._model.release()

    def _answer_all(self, answer: Answer) -> None:
        while not self._stop.is_set() and (claim := self._claim()) is not None:
            self._held = claim
            try:
                self._answer(answer, claim)
            finally:
                self._held = None

    def _claim(self) -> TextClaim | None:
        with transaction(self._engine) as connection:
            if not text_queue.is_waiting(connection):  # a look changes nothing
                return None
            return text_queue.claim(connection, self._worker, self._lease_s)

    def _answer(self, answer: Answer, claim: TextClaim) -> None:
        began = time.monotonic()
        try:
            result = answer(self._engine, claim)
            is_ours = retry_while_db_down(lambda: self._finish(claim, result), self._stop)
        except Exception as error:
            self._settle(claim, error)
            return
        seconds = round(time.monotonic() - began, 1)
        fields = {"text": claim.request_id, "tokens": len(result.tokens), "seconds": seconds}
        log.info("text answered" if is_ours else "text lost", extra=fields)

    def _finish(self, claim: TextClaim, result: TextResult) -> bool:
        with transaction(self._engine) as connection:
            return text_queue.finish(connection, claim, result)

    def _settle(self, claim: TextClaim, error: Exception) -> None:
        """End a request that has no result, or give it back where the database is to blame."""

        def settle() -> bool:
            with transaction(self._engine) as connection:
                if is_away(error):
                    return text_queue.release(connection, claim)
                return text_queue.fail(connection, claim, *_reason(error))

        if not (isinstance(error, TextFailed) or is_away(error)):
            log.error("text broke", extra={"text": claim.request_id}, exc_info=error)
        retry_while_db_down(settle, self._stop)
        # The message may quote the text.
        error_class = "database" if is_away(error) else _reason(error)[0]
        log.info("text failed", extra={"text": claim.request_id, "reason": error_class})


def _reason(error: Exception) -> tuple[str, str]:
    """Return the class and the message of an error, as they are stored."""
    if isinstance(error, TextFailed):
        return error.error_class, error.message
    return "error", f"{type(error).__name__}: the worker's log has more"
