"""The dispatch loop: a stateless reconciler between Postgres and Celery.

Each tick reads what is to be done, tops the queues up, and takes back what nobody works on any
more. Kill it, or start two of them: nothing changes but the pace.
"""

import logging
from collections.abc import Sequence

from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine

from db import heartbeats, progress, runs, shards
from db.session import transaction
from worker import signatures
from worker.signatures import QUEUES

log = logging.getLogger(__name__)

AHEAD = {"gpu": 2, "api": 16}  # shards queued or leased for each worker: busy, and one waiting
LATER_FIRST = ("score", "simulate", "explain", "collect")


class BrokerAway(Exception):
    """Redis cannot be reached; what was to be sent is sent again when its lease has run out."""


def tick(engine: Engine, run_id: int, lease_s: float) -> str:
    """Bring a run one step on and return its state: running, paused or done.

    A run that was paused counts as running while workers still store what they had in flight.

    Raises:
        BrokerAway: Messages could not be sent.
    """
    with transaction(engine) as connection:
        run = runs.get(connection, run_id)
        if run["state"] == "running":
            _take_back(connection, run_id)
            shards.open_ready(connection, run_id)
            if shards.unfinished(connection, run_id) == 0:
                runs.finish(connection, run_id)
                return "done"
        to_send = _queue(connection, run_id, lease_s) if run["state"] == "running" else []
        at_work = run["state"] == "paused" and shards.leased(connection, run_id) > 0
    _send(to_send)
    return "running" if at_work else str(run["state"])


def _take_back(connection: Connection, run_id: int) -> None:
    shards.sweep(connection, run_id)
    for shard in shards.exhausted(connection, run_id):
        if shard["stage"] == "collect":
            reason = f"collecting failed {shard['attempts']} times: {shard['error'] or 'killed'}"
            runs.pause(connection, run_id, "collect", reason)
        else:
            shards.give_up(connection, shard)
            progress.count_shard(connection, shard["id"])


def _queue(connection: Connection, run_id: int, lease_s: float) -> list[tuple[int, str]]:
    counts = shards.count_open(connection, run_id)
    to_send: list[tuple[int, str]] = []
    for queue, ahead in AHEAD.items():
        stages = [stage for stage in LATER_FIRST if QUEUES[stage] == queue]
        under_way = sum(counts.get((s, state), 0) for s in stages for state in ("queued", "leased"))
        room = ahead * max(1, heartbeats.alive(connection, queue)) - under_way
        if room > 0:
            to_send += shards.queue(connection, run_id, stages, room, lease_s)
    return to_send


def _send(messages: Sequence[tuple[int, str]]) -> None:
    try:
        for shard_id, stage in messages:
            signatures.of_stage(stage, shard_id).apply_async(retry=False)
    except (BrokerError, RedisError, OSError) as error:
        raise BrokerAway(str(error)) from error
