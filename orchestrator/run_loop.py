"""Following a run to its end: dispatch, and keep the services and the local workers up."""

import time
from contextlib import suppress
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.session import is_away
from orchestrator.dispatch import BrokerAway, tick
from orchestrator.environment import Environment
from orchestrator.local.errors import ServiceError
from orchestrator.local.workers import LocalWorkers
from worker.outages import LONGEST_PAUSE_S, first_line_of

TICK_S = 0.25


class RunDisplay(Protocol):
    """What shows a person how a run goes."""

    def note(self, line: str) -> None:
        """Show a line about an event."""

    def update(self) -> None:
        """Show how far the run is, if it is time to. Called after every tick."""


def follow_run(
    display: RunDisplay,
    engine: Engine,
    environment: Environment,
    run_id: int,
    workers: LocalWorkers | None,
) -> str:
    """Dispatch a run until it is done or paused; return that state.

    Services that go away are waited for, and started again where they are embedded.
    """
    pause = TICK_S
    while True:
        try:
            state = tick(engine, run_id, environment.settings.lease_s)
        except (BrokerAway, SQLAlchemyError) as error:
            if not isinstance(error, BrokerAway) and not is_away(error):
                raise
            pause = min(2 * pause, LONGEST_PAUSE_S)
            display.note(f"away, trying again in {pause:.1f} s: {first_line_of(error)}")
            with suppress(ServiceError):
                environment.ensure()
            time.sleep(pause)
            continue
        pause = TICK_S
        if workers is not None:
            for line in workers.ensure_alive():
                display.note(line)
        display.update()
        if state != "running":
            return state
        time.sleep(TICK_S)
