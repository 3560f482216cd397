"""A worker process: its database engine, its heartbeat, and the shards that it holds.

One background thread renews the leases and says that the process lives, by the database's clock.
"""

import atexit
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from db import heartbeats, runs, shards
from db.migrate import SchemaError, check_version
from db.session import WORKER_POOL, Patience, is_away, make_engine, transaction
from neurogloss.config.settings import Settings
from neurogloss.errors import (
    InputError,
    Interrupted,
    LeaseLost,
    NeuroglossError,
    OtherVersion,
    RunError,
    TransientError,
    Waiting,
)
from worker.held_shards import HeldShards
from worker.outages import OutageLog, first_line_of, retry_while_db_down
from worker.process_calls import ProcessCalls
from worker.replay import Replay
from worker.run import Run, load_run, log_pause, pause_run
from worker.shard import ClaimedShard, Lease, RunJob
from worker.side_shards import SideShards
from worker.spool import Spool
from worker.text_queue import TextQueue

log = logging.getLogger(__name__)

# Between heartbeats, which tell those who follow a run how far shards are: less than the 9 seconds
# between two lines of `run`, each of which has something new then.
LONGEST_BEAT_S = 8.0
OUTAGE_PAUSE_S = 1.0  # before a shard goes back that a service failed: it may fail the next one too


class _Process:
    """The state of the process; made once, by `start`."""

    def __init__(self, env: Mapping[str, str], name: str, queue: str) -> None:
        self.settings = Settings.from_env(env)
        self.env, self.name, self.queue = env, name, queue
        self.stop = threading.Event()
        spool = Spool(self.settings.spool)
        self.calls = ProcessCalls(self.settings.redis_url, env, spool, self.stop)
        patience = Patience.of_lease(self.settings.lease_s)
        self.engine = make_engine(
            self.settings.database_url, pool_size=WORKER_POOL, patience=patience
        )
        self.replay = Replay(spool, self.engine)
        self.ended = threading.Event()
        self.held = HeldShards()
        self.texts = TextQueue(self.engine, name, self.settings.lease_s, self.stop)
        self.side: SideShards | None = None
        self.finished = 0
        self.beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def log_stop(self) -> None:
        """Log that the process is told to stop. Runs in a thread: signal handlers must not log."""
        self.stop.wait()
        log.info("worker stopping", extra={"shards": len(self.held)})

    def replay_early(self) -> None:
        """Store what an earlier worker left, also where no shard is to be done."""
        with suppress(SQLAlchemyError):  # the process stops: the next one does
            retry_while_db_down(self.replay.run, self.stop)

    def _beat(self) -> None:
        pause = min(LONGEST_BEAT_S, self.settings.lease_s / 4)
        outage = OutageLog()
        while True:
            try:
                self._beat_once()
                outage.ended()
            except SQLAlchemyError as error:  # of any kind: without a pulse, leases run out
                outage.began("database", error)
            if self.ended.wait(pause):  # not at `stop`: answers in flight are still waited for
                return

    def _beat_once(self) -> None:
        self.held.renew(self.engine, self.settings.lease_s)
        self.texts.renew()
        with transaction(self.engine) as connection:
            beat = (self.name, self.queue, socket.gethostname(), self.finished)
            heartbeats.beat(connection, *beat)
            heartbeats.forget_dead(connection)


_process: _Process | None = None


def start(name: str, queue: str) -> None:
    """Set the process up and start its heartbeat.

    Raises:
        ValueError: A variable that it needs is not set.
    """
    global _process
    _process = _Process(os.environ, name, queue)
    # Not in `stop`: at exit no task can need it any more.
    atexit.register(_process.calls.close)
    _collect_garbage_seldom()
    _process.beating.start()
    threading.Thread(target=_process.replay_early, name="replay", daemon=True).start()
    threading.Thread(target=_process.log_stop, name="stop-log", daemon=True).start()
    log.info("worker started", extra={"queue": queue, "lease_s": _process.settings.lease_s})


def _collect_garbage_seldom() -> None:
    """Let the garbage collector run less often, and leave out the objects that exist by now.

    Hundreds of calls at once are many objects that live for a while. By Python's defaults they are
    looked through so often that it takes a fifth of a call.
    """
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def stop_soon() -> None:
    """Tell the tasks in progress to give their shards back."""
    if _process is not None:
        _process.stop.set()


def stop() -> None:
    """Take the process off the list of workers."""
    if _process is None:
        return
    _process.stop.set()
    # Before the heartbeat ends, which renews the leases of what is in progress.
    _process.texts.end()
    if _process.side is not None:
        _process.side.end()
    _process.ended.set()
    _process.beating.join(timeout=1)  # lest it signs on again
    try:
        with transaction(_process.engine) as connection:
            heartbeats.leave(connection, _process.name)
    except SQLAlchemyError as error:
        log.warning("could not sign off", extra={"reason": first_line_of(error)})
    _process.engine.dispose()
    log.info("worker stopped", extra={"finished": _process.finished})


def texts() -> TextQueue:
    """Return the texts that the process answers."""
    if _process is None:
        raise RuntimeError("the worker process was not started")
    return _process.texts


def begin_side_shards(steps: Sequence[str], collect: Callable[[ClaimedShard], None]) -> None:
    """Do shards of some steps of collect from now on, beside those that messages come for."""
    if _process is None:
        raise RuntimeError("the worker process was not started")
    _process.side = SideShards(
        _process.engine, steps, partial(do_shard, stage=collect), _process.stop
    )
    _process.side.begin()


def do_shard(shard_id: int, stage: Callable[[ClaimedShard], None]) -> bool:
    """Claim a shard and do it; return whether it was claimed.

    Does nothing when the shard is done or taken, or its run is paused.
    """
    process = _process
    if process is None:
        raise RuntimeError("the worker process was not started")
    claimed = _claim_or_drop(process, shard_id)
    if claimed is None:
        return False
    process.held.add(claimed)
    began = time.monotonic()
    log.info("shard claimed", extra=claimed.log_fields)
    try:
        stage(claimed)
        process.finished += 1
        seconds = round(time.monotonic() - began, 1)
        log.info("shard finished", extra={**claimed.log_fields, "seconds": seconds})
    # Of any kind: Celery would only log it, and the shard would stay leased until its lease ends.
    except Exception as error:
        _give_back(process, claimed, error)
    finally:
        process.held.drop(claimed)
    return True


def run_job(run_id: int, do: Callable[[RunJob], None]) -> None:
    """Do something for a run that is no shard's work. Does nothing while the run is paused."""
    process = _process
    if process is None:
        raise RuntimeError("the worker process was not started")
    try:
        with transaction(process.engine) as connection:
            run = load_run(connection, run_id)
        if process.stop.is_set() or run.row.state != "running":
            return
        do(RunJob(process.engine, run_id, run.config, process.stop, process.env))
    except RunError as error:
        pause_run(process.engine, run_id, error)
    except SQLAlchemyError as error:
        if not is_away(error):
            raise
        fields = {"service": "database", "reason": first_line_of(error)}
        log.warning("batches have to wait", extra=fields)


def _claim_or_drop(process: _Process, shard_id: int) -> ClaimedShard | None:
    """Claim a shard; a process that is told to stop lets the next one have it at once."""
    try:
        if not process.stop.is_set():
            return retry_while_db_down(lambda: _claim(process, shard_id), process.stop)
        with transaction(process.engine) as connection:
            shards.unqueue(connection, shard_id)
    except SQLAlchemyError as error:
        if not (is_away(error) and process.stop.is_set()):
            raise
    return None


def _claim(process: _Process, shard_id: int) -> ClaimedShard | None:
    process.replay.run()  # first, since the shard may ask what was paid for already
    lease_s = process.settings.lease_s
    lease = Lease(process.stop, time.monotonic() + lease_s)
    with transaction(process.engine) as connection:
        claim = shards.claim(connection, shard_id, process.name, lease_s)
        if claim is None:
            return None
        row = runs.get(connection, claim.run_id)
        try:
            check_version(runs.schema_version(connection))
            run = Run.of(row)
        except SchemaError as error:
            shards.release(connection, claim)
            _leave(process, error)
            return None
        except OtherVersion as error:
            # In the same transaction: a claim that cannot be done is never seen, nor counted.
            shards.release(connection, claim)
            if runs.pause(connection, row.id, error.cause, error.reason):
                log_pause(row.name, error)
            return None
    process.calls.seen.note(run)
    return ClaimedShard(process.engine, claim, run.row, run.config, lease, process.calls)


def _leave(process: _Process, error: SchemaError) -> None:
    """Stop this process, since the schema has changed under it. The run goes on in newer ones."""
    if not process.stop.is_set():
        log.warning("worker outdated", extra={"reason": str(error)})
        process.stop.set()
        # Celery's warm shutdown, as an operator would begin it.
        os.kill(os.getpid(), signal.SIGTERM)


def _give_back(process: _Process, shard: ClaimedShard, error: Exception) -> None:
    """Settle a shard that was not finished, by what the error says of it."""
    if isinstance(error, LeaseLost):
        log.warning("lease lost", extra=shard.log_fields)
        return
    is_outage = is_away(error) or isinstance(error, RedisError)
    if is_outage:
        process.stop.wait(OUTAGE_PAUSE_S)
    elif not isinstance(error, NeuroglossError) or isinstance(error, InputError):
        # Inputs are checked before a run is created: an InputError here is a defect too.
        log.error("shard failed", extra=shard.log_fields, exc_info=error)
    try:
        settle = partial(_settle, process, shard.claim, error, is_outage)
        settled = retry_while_db_down(settle, process.stop)
    except SQLAlchemyError as away:
        if not is_away(away):
            raise
        # The process is told to stop: the shard goes back when its lease ends.
        log.warning("shard not given back", extra=shard.log_fields)
        return
    if settled.has_paused and isinstance(error, RunError):
        log_pause(shard.run.name, error)
    if settled.was_ours:
        fields = {**shard.log_fields, "reason": _reason(error, is_outage)}
        log.log(logging.WARNING if is_outage else logging.INFO, "shard given back", extra=fields)
    else:
        log.warning("lease lost", extra=shard.log_fields)


class _Settled(NamedTuple):
    """Whether this process still had the shard, and whether it was the one to pause the run."""

    was_ours: bool
    has_paused: bool = False


def _settle(process: _Process, claim: shards.Claim, error: Exception, is_outage: bool) -> _Settled:
    with transaction(process.engine) as connection:
        if is_outage or isinstance(error, Interrupted):
            return _Settled(shards.release(connection, claim))
        if isinstance(error, Waiting):
            return _Settled(shards.wait(connection, claim))
        if isinstance(error, RunError):
            return _Settled(
                shards.release(connection, claim),
                runs.pause(connection, claim.run_id, error.cause, error.reason),
            )
        text = f"{type(error).__name__}: {error}"
        return _Settled(shards.fail(connection, claim, text))


def _reason(error: Exception, is_outage: bool) -> str:
    """Return why a shard goes back, for the log: messages of other errors may quote an answer."""
    if is_outage or isinstance(error, Interrupted | Waiting | RunError | TransientError):
        return first_line_of(error)
    return type(error).__name__
