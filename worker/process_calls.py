"""The calls of a worker process: its call engine, and the run contexts that its shards share."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from sqlalchemy import Engine

from db.runs import StoredRun
from neurogloss.config.run import RunConfig
from neurogloss.errors import Interrupted
from neurogloss.llm.budget import Budget
from neurogloss.llm.call_engine import CallEngine
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.run_context import RunContext
from worker.ledger import PostgresLedger
from worker.run import SeenConfigs
from worker.run_state import PROCESS, PostgresRunState, RunBudget
from worker.spool import Spool
from worker.unanswered import StoredUnanswered

_NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})


class ProcessCalls:
    """The resources for the calls of a process's shards. Safe to use from several threads.

    Args:
        redis_url: Where limits are shared; None where no calls are made online.
        env: Environment variables, for the keys of endpoints.
        spool: Where answers are kept that the database does not take before the process ends.
        stop: Set when the process is told to end.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        env: Mapping[str, str] = _NO_ENVIRONMENT,
        spool: Spool | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._redis_url, self._env = redis_url, env
        self._spool, self._stop = spool, stop
        self._lock = threading.Lock()
        self._engine: CallEngine | None = None
        self._contexts: dict[int, _SharedContext] = {}
        self.seen = SeenConfigs()

    def endpoint(self, config: RunConfig, name: str) -> Endpoint:
        """Return an endpoint of a run, with its key.

        Raises:
            BadCredentials: The variable that should hold the key is not set, or holds no key.
        """
        return Endpoint.from_config(name, config.endpoints[name], self._env)

    def engine(self) -> CallEngine:
        """Return the call engine, which is started by the first call: many processes make none."""
        # Shards start at the same time, and must not start an engine each.
        with self._lock:
            if self._engine is None:
                if self._redis_url is None:
                    raise RuntimeError("calls need a Redis that limits are shared in")
                self._engine = CallEngine(self._redis_url)
            return self._engine

    @contextmanager
    def run_context(self, database: Engine, run: StoredRun) -> Iterator[RunContext]:
        """Yield the context that all shards of a run share while any of them makes calls.

        Raises:
            Interrupted: The run was paused here, and what was in flight then still is.
        """
        shared = self._enter(database, run)
        try:
            yield shared.context
        finally:
            self._leave(run.id, shared)

    def _enter(self, database: Engine, run: StoredRun) -> "_SharedContext":
        with self._lock:
            shared = self._contexts.get(run.id)
            if shared is None:
                shared = self._contexts[run.id] = self._new_context(database, run)
            # The state of a paused run is not used again: a resumed run gets a new context once
            # calls in flight have ended.
            if shared.context.halted is not None:
                raise Interrupted("the run is paused")
            shared.n_shards += 1
        return shared

    def _new_context(self, database: Engine, run: StoredRun) -> "_SharedContext":
        budget = RunBudget(database, run.id, self._stop)
        state = PostgresRunState(database, run.id, self._env, self.seen, budget)
        keep = partial(self._spool.keep, run.id, run.name) if self._spool else None
        unanswered = StoredUnanswered(database, run.id, PROCESS)
        ledger = PostgresLedger(database, run.id, self._stop, keep, unanswered.calls)
        context = RunContext(ledger, Budget(budget), state, unanswered)
        return _SharedContext(context, ledger, budget, unanswered)

    def _leave(self, run_id: int, shared: "_SharedContext") -> None:
        with self._lock:
            shared.n_shards -= 1
            if shared.n_shards == 0:
                del self._contexts[run_id]
                shared.close()

    def close(self) -> None:
        """Close the call engine, if there is one."""
        if self._engine is not None:
            self._engine.close()


@dataclass(slots=True)
class _SharedContext:
    """A run context with what is closed after it, and the number of shards that use it."""

    context: RunContext
    ledger: PostgresLedger
    budget: RunBudget
    unanswered: StoredUnanswered
    n_shards: int = 0

    def close(self) -> None:
        """Give back the ledger's connection and what is left of the budget hold."""
        self.ledger.close()
        self.unanswered.close()
        self.budget.release()
