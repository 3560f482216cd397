"""The budget and the state of a run in Postgres, as one process sees and changes them."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from db import budget, runs
from db.session import transaction
from neurogloss.errors import RunError
from neurogloss.llm.budget import BudgetHold
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.run_context import LiveLimits
from worker.outages import retry_while_db_down
from worker.run import SeenConfigs, load_run, pause_run

PROCESS = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
"""Name of this process in tables, which no other one ever shares."""


class RunBudget:
    """What this process may spend of a run's budget, in USD.

    Once `stop` is set, it waits no longer for a database that is away.
    """

    def __init__(self, engine: Engine, run_id: int, stop: threading.Event | None = None) -> None:
        self._engine, self._run_id, self._stop = engine, run_id, stop
        self._valid_until = 0.0  # by the monotonic clock, no later than in the database

    def _is_valid(self) -> bool:
        return time.monotonic() < self._valid_until

    def hold(self, reserved: float, wanted: float) -> BudgetHold:
        """Set aside `reserved` and at least `wanted`; see `neurogloss.llm.budget.BudgetStore`."""

        def hold() -> budget.StoredHold:
            # Before the request: the hold must never seem valid here after it has expired in the
            # database.
            asked_at = time.monotonic()
            with transaction(self._engine) as connection:
                amounts = {"out": reserved, "wanted": wanted}
                stored = budget.hold(connection, self._run_id, PROCESS, **amounts)
            self._valid_until = asked_at + budget.EXPIRES_S
            return stored

        stored = retry_while_db_down(hold, self._stop)
        if stored.limit is None:
            return BudgetHold(float("inf"), 0.0, stored.spent, float("inf"))
        return BudgetHold(stored.usd, stored.elsewhere, stored.spent, stored.limit, self._is_valid)

    def keep(self) -> None:
        """Renew the hold. One that has expired stays so: others may have spent it."""
        asked_at = time.monotonic()
        with transaction(self._engine) as connection:
            is_kept = budget.keep(connection, self._run_id, PROCESS)
        if is_kept:
            self._valid_until = asked_at + budget.EXPIRES_S

    def release(self) -> None:
        """Give back what is held and not spent. A hold that is not given back expires."""
        with suppress(SQLAlchemyError), transaction(self._engine) as connection:
            budget.release(connection, self._run_id, PROCESS)


class PostgresRunState:
    """The state of a run; see `neurogloss.llm.run_context.RunState`.

    Args:
        engine: Of the database.
        run_id: Of the run.
        env: Environment variables, for the keys of endpoints.
        seen: What the process has read of runs, so that a change of limits is logged once.
        budget: Whose hold is renewed whenever the state is read.
    """

    def __init__(
        self,
        engine: Engine,
        run_id: int,
        env: Mapping[str, str],
        seen: SeenConfigs | None = None,
        budget: RunBudget | None = None,
    ) -> None:
        self._engine, self._run_id, self._env = engine, run_id, env
        self._seen = seen or SeenConfigs()
        self._budget = budget or RunBudget(engine, run_id)

    def is_running(self) -> bool:
        """Return whether the run goes on, and renew the budget hold of this process."""
        try:
            self._budget.keep()
            with transaction(self._engine) as connection:
                return runs.is_running(connection, self._run_id)
        except SQLAlchemyError:
            return True  # not known while the database is away; storing waits for it anyway

    def pause(self, error: RunError) -> None:
        """Pause the run in all processes."""
        pause_run(self._engine, self._run_id, error)

    def live_limits(self, endpoint: Endpoint) -> LiveLimits | None:
        """Return the limits by now of the endpoint of that name; None if they cannot be read."""
        try:
            with transaction(self._engine) as connection:
                run = load_run(connection, self._run_id)
            self._seen.note(run)
            config = run.config.endpoints[endpoint.name]
            here = Endpoint.from_config(endpoint.name, config, self._env)
            return LiveLimits(here, run.row.budget_usd)
        except (OperationalError, RunError):  # the next shard reports what is wrong
            return None
