"""The ledger of calls in Postgres: answers, and what they cost."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from db import call_minutes, calls, progress
from db.calls import StoredCall
from db.progress import SPEND_SUMS, Spend
from db.session import is_away, transaction
from neurogloss.llm.calls import Answer
from worker.call_counts import UnansweredCalls, counts_of
from worker.outages import retry_while_db_down

log = logging.getLogger(__name__)

_ANSWER_FIELDS = {field.name for field in fields(Answer)} - {"reused"}
_SUMMED = tuple(column for column in SPEND_SUMS if column != "calls")


Keep = Callable[[Sequence[Answer]], None]
"""Keeps answers that the database cannot take; raises OSError where it cannot either."""


class PostgresLedger:
    """The table of calls, for one run. Safe to use from several threads.

    Args:
        engine: Of the database.
        run_id: Of the run.
        stop: Once it is set, `save` waits no longer for a database that is away.
        keep: What `save` does with its answers then; without it, it raises.
        unanswered: Requests without an answer, whose counts are stored with the next answers.
    """

    def __init__(
        self,
        engine: Engine,
        run_id: int,
        stop: threading.Event | None = None,
        keep: Keep | None = None,
        unanswered: UnansweredCalls | None = None,
    ) -> None:
        self._engine, self._run_id = engine, run_id
        self._stop, self._keep = stop, keep
        # Kept between calls of `save`: the pool asks the server whether a connection still works
        # each time that it is taken out, which is a round trip.
        self._connection: Connection | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self._unanswered = unanswered or UnansweredCalls()

    def close(self) -> None:
        """Give back the connection of `save`. Answers that come later take one from the pool."""
        with self._lock:
            self._is_closed = True
            self._give_back()

    def _give_back(self) -> None:
        """Give the connection of `save` back to the pool, or throw it away if it broke."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            # Its mode could not be set back, of which the driver's own error is raised, and its
            # place in the pool would stay taken.
            connection.invalidate()
        connection.close()

    def find(self, identities: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the stored answers to these calls, whichever run has paid for them."""
        with transaction(self._engine) as connection:
            rows = calls.find(connection, identities)
        return {
            row.identity: Answer(**{k: getattr(row, k) for k in _ANSWER_FIELDS}, reused=True)
            for row in rows
        }

    def save(self, answers: Sequence[Answer]) -> None:
        """Store answers and what they cost; committed, or kept elsewhere, when this returns."""
        # Sorted, so that two processes that store the same answers wait for each other's rows in
        # one order, and cannot deadlock.
        ordered = sorted(answers, key=lambda answer: answer.identity)

        def store() -> None:
            if not self._save_new(ordered):
                with transaction(self._engine) as connection:
                    self.save_in(connection, ordered)

        try:
            retry_while_db_down(store, self._stop)
        except SQLAlchemyError as error:
            if self._keep is None or not is_away(error):
                raise
            self._keep_until(error, answers)

    def _keep_until(self, away: SQLAlchemyError, answers: Sequence[Answer]) -> None:
        """Keep answers until the database is back."""
        assert self._keep is not None
        try:
            self._keep(answers)
        except OSError as error:
            fields = {"run_id": self._run_id, "answers": len(answers), "reason": str(error)}
            log.error("paid answers not kept", extra=fields)
            # The outage, so that the shard is given back without counting an attempt against it.
            raise away from error

    def _save_new(self, answers: Sequence[Answer]) -> bool:
        """Store answers in one statement, if none of their calls has one; return whether it did.

        The common case, and the one that calls in flight wait for.
        """
        rows = [self._row(answer) for answer in answers]
        with self._lock:
            if self._is_closed:
                return False
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(
                    isolation_level="AUTOCOMMIT"
                )
            unanswered, is_stored = self._unanswered.take(), False
            try:
                sums = spend_of(answers), [*counts_of(answers), *unanswered]
                is_stored = calls.save_new(self._connection, self._run_id, rows, *sums)
            except SQLAlchemyError:
                self._give_back()
                raise
            finally:
                if not is_stored:
                    self._unanswered.put_back(unanswered)
            return is_stored

    def save_in(self, connection: Connection, answers: Sequence[Answer]) -> None:
        """Store answers and what they cost, as a part of a transaction.

        A second answer to a call was paid for in vain: all that it cost counts as wasted.
        """
        saved = calls.save(connection, [self._row(answer) for answer in answers])
        first = [answer for answer in answers if answer.identity in saved.first]
        repeated = [
            replace(answer, usd=0.0, wasted_usd=answer.usd + answer.wasted_usd)
            for answer in answers
            if answer.identity in saved.repeated
        ]
        paid = [*first, *repeated]
        progress.add_spend(connection, self._run_id, spend_of(paid))
        call_minutes.add(connection, self._run_id, counts_of(paid))

    def waste(self, identities: Sequence[bytes]) -> None:
        """Count what these answers cost as wasted, once."""
        with transaction(self._engine) as connection:
            # The money moves from one column to the other in one row, so that sums of both stay the
            # same.
            for call in calls.waste(connection, identities):
                moved = Spend(call.stage, call.model, usd=-call.usd, wasted_usd=call.usd)
                # To the run that paid for the answer, which may be another one than ours.
                progress.add_spend(connection, call.run_id, [moved])

    def keep(self, answers: Sequence[Answer], usd: Callable[[Answer], float]) -> None:
        """Count what these answers cost as not wasted, once, though they were cut off.

        `usd` returns what an answer cost by itself, without the attempts before it.
        """
        with transaction(self._engine) as connection:
            for call in calls.keep(connection, {a.identity: usd(a) for a in answers}):
                moved = Spend(call.stage, call.model, usd=call.usd, wasted_usd=-call.usd)
                progress.add_spend(connection, call.run_id, [moved])

    def _row(self, answer: Answer) -> StoredCall:
        values = {k: getattr(answer, k) for k in _ANSWER_FIELDS}
        return StoredCall(run_id=self._run_id, **values)


def spend_of(answers: Sequence[Answer]) -> list[Spend]:
    """Return what these answers add to the spend of their run."""
    sums: dict[tuple[str, str], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for answer in answers:
        row = sums[answer.purpose, answer.model]
        row["calls"] += 1
        for column in _SUMMED:
            row[column] += getattr(answer, column)
    return [Spend(stage, model, **row) for (stage, model), row in sums.items()]
