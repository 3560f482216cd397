"""What the call engine needs of the database: answers, money, and whether the run goes on."""

import os
import secrets
import socket
import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from db import budget, calls, progress, runs
from db.calls import StoredCall
from db.progress import Spend
from db.session import transaction
from neurogloss.errors import RunError
from neurogloss.llm.budget import BudgetHold
from neurogloss.llm.calls import Answer
from worker.outages import retry_while_db_down

_PROCESS = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
_ANSWER_FIELDS = {field.name for field in fields(Answer)} - {"reused"}


class PostgresLedger:
    """The table of calls, for one run."""

    def __init__(self, engine: Engine, run_id: int) -> None:
        self._engine, self._run_id = engine, run_id
        self._own: Connection | None = None  # kept: a checkout asks first whether it still works
        self._is_closed = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give back the connection by which answers are stored; what comes late gets another."""
        with self._lock:
            self._is_closed = True
            if self._own is not None:
                self._own.close()
                self._own = None

    def find(self, identities: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the answers to these questions that any run has paid for."""
        with transaction(self._engine) as connection:
            rows = calls.find(connection, identities)
        return {
            row.identity: Answer(**{k: getattr(row, k) for k in _ANSWER_FIELDS}, reused=True)
            for row in rows
        }

    def save(self, answers: Sequence[Answer]) -> None:
        """Store answers and what they cost; committed when it returns."""
        ordered = sorted(answers, key=lambda answer: answer.identity)  # who stores the same, waits

        def store() -> None:
            if not self._save_new(ordered):
                with transaction(self._engine) as connection:
                    self.save_in(connection, ordered)

        retry_while_db_down(store)

    def _save_new(self, answers: Sequence[Answer]) -> bool:
        """Store answers at once, if all of them are new; calls wait for this."""
        rows = [self._row(answer) for answer in answers]
        with self._lock:
            if self._is_closed:
                return False
            if self._own is None:
                self._own = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                return calls.save_new(self._own, self._run_id, rows, _spend(answers))
            except SQLAlchemyError:
                self._own.close()
                self._own = None
                raise

    def save_in(self, connection: Connection, answers: Sequence[Answer]) -> None:
        """Store answers and what they cost, as a part of a transaction."""
        saved = calls.save(connection, [self._row(answer) for answer in answers])
        paid = [answer for answer in answers if answer.identity in saved.first]
        in_vain = [
            replace(answer, usd=0.0, wasted_usd=answer.usd + answer.wasted_usd)
            for answer in answers
            if answer.identity in saved.repeated
        ]
        progress.add_spend(connection, self._run_id, _spend([*paid, *in_vain]))

    def waste(self, identities: Sequence[bytes]) -> None:
        """Count what these answers cost as wasted."""
        with transaction(self._engine) as connection:
            for call in calls.waste(connection, identities):
                moved = Spend(call.stage, call.model, usd=-call.usd, wasted_usd=call.usd)
                progress.add_spend(connection, call.run_id, [moved])

    def _row(self, answer: Answer) -> StoredCall:
        values = {k: getattr(answer, k) for k in _ANSWER_FIELDS}
        return StoredCall(run_id=self._run_id, **values)


_SUMS = ("prompt_tokens", "cached_tokens", "completion_tokens", "usd", "wasted_usd")


def _spend(answers: Sequence[Answer]) -> list[Spend]:
    sums: dict[tuple[str, str], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for answer in answers:
        row = sums[answer.purpose, answer.model]
        row["calls"] += 1
        for column in _SUMS:
            row[column] += getattr(answer, column)
    return [Spend(stage, model, **row) for (stage, model), row in sums.items()]


class RunBudget:
    """What this process may spend of a run's budget."""

    def __init__(self, engine: Engine, run_id: int) -> None:
        self._engine, self._run_id = engine, run_id

    def hold(self, out: float, wanted: float) -> BudgetHold:
        """Set aside `out` and at least `wanted`; see `neurogloss.llm.budget.BudgetStore`."""

        def hold() -> budget.StoredHold:
            with transaction(self._engine) as connection:
                return budget.hold(connection, self._run_id, _PROCESS, out=out, wanted=wanted)

        held = retry_while_db_down(hold)
        if held.limit is None:
            return BudgetHold(float("inf"), 0.0, held.spent, float("inf"))
        return BudgetHold(held.usd, held.elsewhere, held.spent, held.limit)

    def release(self) -> None:
        """Give back what is held and not spent; it runs out by itself too."""
        with suppress(SQLAlchemyError), transaction(self._engine) as connection:
            budget.release(connection, self._run_id, _PROCESS)


class RunState:
    """Whether a run goes on."""

    def __init__(self, engine: Engine, run_id: int) -> None:
        self._engine, self._run_id = engine, run_id

    def is_running(self) -> bool:
        """Return whether nobody has paused the run, and say that its budget is still needed."""
        try:
            with transaction(self._engine) as connection:
                budget.keep(connection, self._run_id, _PROCESS)
                return runs.is_running(connection, self._run_id)
        except SQLAlchemyError:
            return True  # nobody can say; answers wait for the database anyway

    def pause(self, error: RunError) -> None:
        """Pause the run, for everyone."""

        def pause() -> None:
            with transaction(self._engine) as connection:
                runs.pause(connection, self._run_id, error.cause, error.reason)

        retry_while_db_down(pause)
