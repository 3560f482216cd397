"""A worker process: its database engine, its heartbeat, and the shards that it holds.

One background thread renews the leases and says that the process lives, by the database's clock.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from db import heartbeats, runs, shards
from db.session import make_engine, transaction
from worker.errors import Interrupted, LeaseLost, RunError, Waiting, WorkerError
from worker.run_config import RunConfig
from worker.settings import Settings
from worker.shard_work import Errand, ShardWork

log = logging.getLogger(__name__)
T = TypeVar("T")


class _Process:
    """What the process holds; made once, by `start`."""

    def __init__(self, settings: Settings, name: str, queue: str) -> None:
        self.settings, self.name, self.queue = settings, name, queue
        self.engine = make_engine(settings.database_url, pool_size=4)
        self.stop = threading.Event()
        self.held: dict[int, shards.Claim] = {}
        self.finished = 0
        self.beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _beat(self) -> None:
        pause = min(30.0, self.settings.lease_s / 4)
        while True:
            try:
                with transaction(self.engine) as connection:
                    beat = (self.name, self.queue, socket.gethostname(), self.finished)
                    heartbeats.beat(connection, *beat)
                    held = list(self.held.values())
                    if held:
                        shards.renew(connection, held, self.settings.lease_s)
            except OperationalError as error:
                log.warning("heartbeat failed, trying again: %s", error.orig)
            if self.stop.wait(pause):
                return


_process: _Process | None = None


def start(name: str, queue: str) -> None:
    """Set the process up and start its heartbeat.

    Raises:
        ValueError: A variable that it needs is not set.
    """
    global _process
    _process = _Process(Settings.from_env(os.environ), name, queue)
    _process.beating.start()


def stop_soon() -> None:
    """Tell the tasks in progress to give their shards back."""
    if _process is not None:
        _process.stop.set()


def stop() -> None:
    """Take the process off the list of workers."""
    if _process is None:
        return
    _process.stop.set()
    try:
        with transaction(_process.engine) as connection:
            heartbeats.leave(connection, _process.name)
    except OperationalError as error:
        log.warning("could not sign off: %s", error.orig)
    _process.engine.dispose()


def work(shard_id: int, stage: Callable[[ShardWork], None]) -> None:
    """Claim a shard and do it. Does nothing when it is done, taken, or its run is paused."""
    process = _process
    if process is None:
        raise RuntimeError("the worker process was not started")
    if process.stop.is_set():
        return
    claimed = _patiently(lambda: _claim(process, shard_id))
    if claimed is None:
        return
    process.held[shard_id] = claimed.claim
    try:
        stage(claimed)
        process.finished += 1
    except Exception as error:
        _give_back(process.engine, claimed.claim, error)
    finally:
        process.held.pop(shard_id, None)


def run_errand(run_id: int, errand: Callable[[Errand], None]) -> None:
    """Do something for a run that is no shard's work. Does nothing while the run is paused."""
    process = _process
    if process is None:
        raise RuntimeError("the worker process was not started")
    with transaction(process.engine) as connection:
        run = runs.get(connection, run_id)
    if process.stop.is_set() or run["state"] != "running":
        return
    config = RunConfig.model_validate(run["config"])
    try:
        errand(Errand(process.engine, run_id, config, process.stop))
    except RunError as error:
        with transaction(process.engine) as connection:
            runs.pause(connection, run_id, error.cause, error.reason)


def _claim(process: _Process, shard_id: int) -> ShardWork | None:
    with transaction(process.engine) as connection:
        claim = shards.claim(connection, shard_id, process.name, process.settings.lease_s)
        if claim is None:
            return None
        run = runs.get(connection, claim.run_id)
    config = RunConfig.model_validate(run["config"])
    return ShardWork(process.engine, claim, run, config, process.stop)


def _give_back(engine: Engine, claim: shards.Claim, error: Exception) -> None:
    """Settle a shard that was not finished, by what the error says of it."""
    if isinstance(error, LeaseLost):
        log.warning("%s", error)
        return
    if not isinstance(error, WorkerError):
        log.exception("shard %d (%s) failed", claim.shard_id, claim.stage, exc_info=error)

    def settle() -> None:
        with transaction(engine) as connection:
            if isinstance(error, Interrupted):
                shards.release(connection, claim)
            elif isinstance(error, Waiting):
                shards.wait(connection, claim)
            elif isinstance(error, RunError):
                shards.release(connection, claim)
                runs.pause(connection, claim.run_id, error.cause, error.reason)
            else:
                text = f"{type(error).__name__}: {error}"
                shards.fail(connection, claim, text)

    _patiently(settle)


def _patiently(action: Callable[[], T]) -> T:
    """Wait for a database that is away, as long as it takes: the work in hand is not lost."""
    retrying = Retrying(
        retry=retry_if_exception_type(OperationalError),
        wait=wait_random_exponential(multiplier=0.2, max=10),
        stop=stop_after_delay(600),
        before_sleep=before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    return retrying(action)
