"""Follow a run to its end: dispatch its shards, and keep services and local workers running."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import runs
from db.runs import StoredRun
from db.session import is_away, is_too_long, transaction
from neurogloss.llm.outage_notes import NoteReader
from orchestrator.dispatch import BrokerAway, tick
from orchestrator.environment import Environment
from orchestrator.local.errors import ServiceError
from orchestrator.local.workers import LocalWorkers
from worker.outages import LONGEST_PAUSE_S, OutageLog, first_line_of, retry_while_db_down
from worker.run import Run

log = logging.getLogger(__name__)

TICK_S = 0.25  # between two looks at what is ready: a shard waits no longer for its message
PAUSED_S = 1.0  # between two looks at a run that is paused
LOOK_EVERY_S = 1.0  # at the endpoints that workers wait for
LOG_EVERY_S = 10.0  # between log lines about messages, of which a tick may send dozens


class RunDisplay(Protocol):
    """Shows the progress of a run to a person."""

    def note(self, line: str) -> None:
        """Show a line about an event."""

    def update(self) -> None:
        """Show the progress, if it is time to. Called after every tick."""


def follow_run(
    display: RunDisplay,
    engine: Engine,
    environment: Environment,
    run: StoredRun,
    workers: LocalWorkers | None,
    *,
    waits_while_paused: bool = False,
) -> str:
    """Dispatch a run until it is done, cancelled or paused; return that state.

    Waits for services that cannot be reached, and restarts embedded ones. With `waits_while_paused`
    a paused run is waited for until somebody resumes or cancels it.
    """
    log.info("dispatcher started", extra={"run": run.name})
    queued = _QueuedMessages(run.name)
    try:
        while True:
            state = _follow(display, engine, environment, run, workers, queued)
            if state != "paused" or not waits_while_paused:
                return state
            _wait_while_paused(display, engine, run)
    finally:
        queued.log()
        log.info("dispatcher stopped", extra={"run": run.name})


def _follow(
    display: RunDisplay,
    engine: Engine,
    environment: Environment,
    run: StoredRun,
    workers: LocalWorkers | None,
    queued: "_QueuedMessages",
) -> str:
    pause = TICK_S
    outage = OutageLog()
    endpoints = _AwayEndpoints(environment, run)
    while True:
        try:
            state = tick(engine, run.id, environment.settings.lease_s, queued.add)
        except (BrokerAway, SQLAlchemyError) as error:
            if not (isinstance(error, BrokerAway) or is_away(error) or is_too_long(error)):
                raise
            # Doubled each time, up to the longest pause that workers make.
            pause = min(2 * pause, LONGEST_PAUSE_S)
            display.note(f"away, trying again in {pause:.1f} s: {first_line_of(error)}")
            outage.began("redis" if isinstance(error, BrokerAway) else "database", error)
            # The service may need several attempts; the next turn of the loop makes another.
            with suppress(ServiceError):
                environment.ensure()
            time.sleep(pause)
            continue
        pause = TICK_S
        outage.ended()
        if workers is not None:
            for line in workers.ensure_alive():
                display.note(line)
                log.warning("local worker restarted", extra={"run": run.name, "reason": line})
        for line in endpoints.news():
            display.note(line)
        display.update()
        if state != "running":
            return state
        time.sleep(TICK_S)


class _AwayEndpoints:
    """The endpoints that the workers of a run wait for, as they note it in Redis."""

    def __init__(self, environment: Environment, run: StoredRun) -> None:
        urls = {name: e.base_url for name, e in Run.of(run).config.endpoints.items()}
        self._notes = NoteReader(environment.settings.redis_url, urls)
        self._run = run.name
        self._away: set[str] = set()
        self._next_at = 0.0

    def news(self) -> Iterator[str]:
        """Log and yield what has changed, if it is time to look."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + LOOK_EVERY_S
        away = self._notes.read()
        for name in away.keys() - self._away:
            fields = {"run": self._run, "endpoint": name, "reason": away[name]}
            log.warning("endpoint away", extra=fields)
            yield f"waiting for endpoint {name}: {away[name]}"
        for name in self._away - away.keys():
            log.info("endpoint back", extra={"run": self._run, "endpoint": name})
            yield f"endpoint {name} is back"
        self._away = set(away)


def _wait_while_paused(display: RunDisplay, engine: Engine, run: StoredRun) -> None:
    """Return when the run is not paused any more."""

    def state() -> str:
        with transaction(engine) as connection:
            return runs.get(connection, run.id).state

    display.note(f"run {run.name} is paused: waiting for `neurogloss resume {run.name}`")
    while retry_while_db_down(state) == "paused":
        time.sleep(PAUSED_S)


class _QueuedMessages:
    """Counts messages over many ticks; logs one line per stage every `LOG_EVERY_S` seconds."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._counts: Counter[str] = Counter()
        self._logged_at = time.monotonic()

    def add(self, stages: Sequence[str]) -> None:
        """Count the messages of a tick by stage; log the counts if it is time to."""
        self._counts.update(stages)
        if time.monotonic() - self._logged_at >= LOG_EVERY_S:
            self.log()

    def log(self) -> None:
        """Log the counts since the last call, and reset them."""
        for stage, count in sorted(self._counts.items()):
            fields = {"run": self._run, "stage": stage, "messages": count}
            log.info("messages queued", extra=fields)
        self._counts.clear()
        self._logged_at = time.monotonic()
