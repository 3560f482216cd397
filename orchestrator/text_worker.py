"""A GPU worker of our own, for texts on embedded services where no run's workers are there."""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import heartbeats, texts
from db.session import transaction
from orchestrator.environment import Environment
from orchestrator.local.errors import WorkerCrashed
from orchestrator.local.workers import LocalWorkers, worker_command

log = logging.getLogger(__name__)

LOOK_S = 1.0  # seconds between looks for texts that wait
IDLE_S = 300.0  # that a worker of our own stays after the last text: loading a model takes seconds


class TextWorker:
    """Starts one GPU worker when none runs, and stops it when the context closes.

    Args:
        environment: Its services. On configured ones no worker is started.
        engine: Of its database.
        env: Variables of the worker, in addition to those of the environment.
    """

    def __init__(self, environment: Environment, engine: Engine, env: Mapping[str, str]) -> None:
        self._environment, self._engine, self._env = environment, engine, env
        # Two beats and a little: so long a worker counts as alive that may have died.
        self._within_s = 2 * min(30.0, environment.settings.lease_s / 4) + 5
        self._own: LocalWorkers | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Stop the worker of our own, if there is one."""
        self._open.close()
        self._own = None

    def ensure(self) -> bool:
        """Return whether a GPU worker runs, or starts; one of our own that died is restarted.

        Raises:
            WorkerCrashed: Our own died again and again.
        """
        if self._own is not None:
            self._own.ensure_alive()
            return True
        with transaction(self._engine) as connection:
            if heartbeats.alive(connection, "gpu", self._within_s):
                return True
        # On configured services the operator decides where GPU workers run.
        if self._environment.home is None:
            return False
        workers = LocalWorkers(
            gpu=1,
            api=0,
            env={**self._environment.worker_env(), **self._env},
            log_folder=self._environment.home / "logs",
            # Not the name of a worker of a run, or of another command like this one.
            command=lambda kind, name: worker_command(kind, f"text-{os.getpid()}-{name}"),
        )
        self._own = self._open.enter_context(workers)
        return True


@contextmanager
def worker_for_texts(
    environment: Environment, engine: Engine, env: Mapping[str, str]
) -> Iterator[None]:
    """See to it that texts find a worker while the context is open, on embedded services alone."""
    if environment.home is None:
        yield
        return
    stop = threading.Event()
    worker = TextWorker(environment, engine, env)
    thread = threading.Thread(target=_watch, args=(worker, engine, stop), name="text-worker")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(worker: TextWorker, engine: Engine, stop: threading.Event) -> None:
    last = time.monotonic()
    with worker:
        while not stop.wait(LOOK_S):
            try:
                with transaction(engine) as connection:
                    is_asked = texts.waiting(connection) > 0
                if is_asked:
                    worker.ensure()
                    last = time.monotonic()
            except SQLAlchemyError:  # the pages say so themselves
                continue
            except WorkerCrashed as error:
                log.warning("texts find no worker", extra={"reason": str(error)})
                return
            if time.monotonic() - last > IDLE_S:
                worker.end()
