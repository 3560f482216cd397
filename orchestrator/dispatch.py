"""The dispatch loop: a stateless reconciler between Postgres and Celery.

Each tick resets shards whose worker or message is lost, opens shards whose predecessors are done,
and fills the queues. A dispatcher keeps no state of its own, so it may be killed, and two may run
at the same time.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from celery.canvas import Signature
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine

from db import (
    batch_requests,
    batches,
    heartbeats,
    parked_shards,
    progress,
    runs,
    shard_readiness,
    shards,
)
from db.parked_shards import ExhaustedShard
from db.runs import StoredRun
from db.session import Patience, transaction, with_patience
from db.shards import QueuedShard
from neurogloss.config.endpoint import BatchesConfig
from neurogloss.config.run import RunConfig
from neurogloss.errors import OtherVersion
from neurogloss.stages import STAGES
from worker import signatures
from worker.run import Run
from worker.signatures import QUEUES

log = logging.getLogger(__name__)

# Shards queued or leased per worker: enough that a worker that finishes one finds the next in the
# queue. GPU workers do up to two at once, API workers many.
AHEAD = {"gpu": 3, "api": 16}
# Neurons are finished rather than begun: results come early, and a run that is stopped leaves few
# half-done.
LATER_FIRST = STAGES[::-1]


class BrokerAway(Exception):
    """Redis cannot be reached. Unsent messages are sent again when their shards' leases expire."""


class _Settled(NamedTuple):
    """How many shards were taken from workers, which ones were parked, and is the run done."""

    n_taken_back: int = 0
    parked: Sequence[ExhaustedShard] = ()
    is_done: bool = False


def tick(
    engine: Engine,
    run_id: int,
    lease_s: float,
    on_queued: Callable[[Sequence[str]], None] = lambda stages: None,
) -> str:
    """Advance a run by one step; return its state: running, paused, cancelled or done.

    A paused run counts as running while workers still store the answers that were in flight; those
    of workers that died are taken back.
    `on_queued` is called with the stage of each message sent.

    Raises:
        BrokerAway: Messages could not be sent.
    """
    # Messages are sent after the commit: a worker that is quicker than it would find no queued
    # shard.
    with transaction(with_patience(engine, Patience.of_lease(lease_s))) as connection:
        run = _readable(connection, runs.get(connection, run_id))
        settled = _settle(connection, run)
        is_going_on = run.state == "running" and not settled.is_done
        messages = _messages(connection, Run.of(run), lease_s) if is_going_on else []
        at_work = run.state == "paused" and shards.leased(connection, run_id) > 0
    _log(run.name, settled)
    if settled.is_done:
        return "done"
    _send(messages)
    on_queued([message.task.removeprefix("worker.") for message in messages])
    return "running" if at_work else run.state


def _readable(connection: Connection, run: StoredRun) -> StoredRun:
    """Return the run; if its configuration is of another version, pause it first."""
    if run.state == "running":
        try:
            Run.of(run)
        except OtherVersion as error:
            runs.pause(connection, run.id, error.cause, error.reason)
            return runs.get(connection, run.id)
    return run


def _settle(connection: Connection, run: StoredRun) -> _Settled:
    """Take back shards whose worker or message is lost, park exhausted ones, open others.

    Of a paused run shards are taken back only: nothing of it begins or ends.
    """
    if run.state not in ("running", "paused"):
        return _Settled()
    n_taken_back = shards.sweep(connection, run.id)
    if run.state == "paused":
        return _Settled(n_taken_back)
    shard_readiness.open_ready(connection, run.id)
    parked = _park(connection, run.id)
    is_done = shards.unfinished(connection, run.id) == 0 and runs.finish(connection, run.id)
    return _Settled(n_taken_back, parked, is_done)


def _log(run: str, settled: _Settled) -> None:
    if settled.n_taken_back:
        log.info("shards taken back", extra={"run": run, "shards": settled.n_taken_back})
    for shard in settled.parked:
        fields = {"run": run, "stage": shard.stage, "shard": shard.id, "attempt": shard.attempts}
        # Only the class of the error: its text may quote an answer, and is stored with the failure.
        reason = (shard.error or "its workers died").partition(":")[0]
        log.warning("shard parked", extra=fields | {"reason": reason})


def _messages(connection: Connection, run: Run, lease_s: float) -> list[Signature]:
    batching = _batching(run.config)
    messages = _queue(connection, run.id, lease_s, batching)
    if _batches_are_due(connection, run.id, batching):
        messages.append(signatures.batches(run.id))
    return messages


def _park(connection: Connection, run_id: int) -> list[ExhaustedShard]:
    """Mark the neurons of exhausted shards as failed, with the reason; return these shards.

    The records of every neuron need every part of the corpus, so an exhausted shard of collect
    pauses the run, after the other shards have ended.
    """
    given_up = []
    for shard in parked_shards.exhausted(connection, run_id):
        if shard.stage == "collect":
            # Others may still finish their work, which need not be done again after the pause.
            if not parked_shards.open_others(connection, run_id):
                reason = f"collecting failed {shard.attempts} times: {shard.error}"
                runs.pause(connection, run_id, "collect", reason)
        else:
            parked_shards.give_up(connection, shard.id)
            progress.count_shard(connection, shard.id)
            given_up.append(shard)
    return given_up


def _batching(config: RunConfig) -> dict[str, BatchesConfig]:
    """Return the batch settings of the endpoints in batch mode, by endpoint."""
    return {
        name: endpoint.batches
        for name, endpoint in config.endpoints.items()
        if endpoint.mode == "batch"
    }


def _batches_are_due(
    connection: Connection, run_id: int, batching: Mapping[str, BatchesConfig]
) -> bool:
    batch_requests.withdraw(connection, run_id, list(batching))
    if not batching and not batches.under_way(connection, run_id):
        return False
    # Batches that are under way are collected even if no endpoint is in batch mode any more.
    pause = min((limits.poll_s for limits in batching.values()), default=BatchesConfig().poll_s)
    return batches.take_turn(connection, run_id, pause)


def _queue(
    connection: Connection, run_id: int, lease_s: float, batching: Mapping[str, BatchesConfig]
) -> list[Signature]:
    counts = shards.count_open(connection, run_id)
    queued: list[QueuedShard] = []
    most = max((limits.max_lines for limits in batching.values()), default=0)
    # As soon as the calls that wait fill a batch, shards that would add more are held back, so that
    # batches follow each other and neurons are finished.
    enough_asked = bool(batching) and batch_requests.pending(connection, run_id, most) >= most
    for queue, ahead in AHEAD.items():
        stages = [stage for stage in LATER_FIRST if QUEUES[stage] == queue]
        under_way = sum(counts.get((s, state), 0) for s in stages for state in ("queued", "leased"))
        # At least one, since workers may start later than the run.
        room = ahead * max(1, heartbeats.alive(connection, queue)) - under_way
        if room > 0:
            queued += shards.queue(
                connection,
                run_id,
                stages,
                room,
                lease_s,
                only_asked=enough_asked and queue == "api",
            )
    return [signatures.of_stage(shard.stage, shard.id) for shard in queued]


def _send(messages: Sequence[Signature]) -> None:
    try:
        for message in messages:
            # No retries of Celery's: they would block the loop. A message that is lost is sent
            # again once its shard's `queued` lease ends.
            message.apply_async(retry=False)
    except (BrokerError, RedisError, OSError) as error:
        raise BrokerAway(str(error)) from error
