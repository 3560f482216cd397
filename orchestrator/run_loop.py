"""Following a run to its end: dispatch, keep the services and local workers up, show progress."""

import time
from contextlib import suppress

from rich.console import Console
from rich.live import Live
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import progress, runs
from db.session import is_away, transaction
from orchestrator.cli.terminal import views
from orchestrator.cli.terminal.plain import plain
from orchestrator.dispatch import BrokerAway, tick
from orchestrator.environment import Environment
from orchestrator.local.errors import ServiceError
from orchestrator.local.workers import LocalWorkers
from worker.outages import LONGEST_PAUSE_S, first_line_of

TICK_S = 0.25
PLAIN_EVERY_S = 10.0  # between progress lines where the output is no terminal


def follow_run(
    console: Console,
    engine: Engine,
    surroundings: Environment,
    run_id: int,
    name: str,
    workers: LocalWorkers | None,
) -> str:
    """Dispatch a run until it is done or paused; return that state.

    Services that go away are waited for, and started again where they are embedded.
    """
    pause = TICK_S
    with _Display(console, engine, name) as display:
        while True:
            try:
                state = tick(engine, run_id, surroundings.settings.lease_s)
            except (BrokerAway, SQLAlchemyError) as error:
                if not isinstance(error, BrokerAway) and not is_away(error):
                    raise
                pause = min(2 * pause, LONGEST_PAUSE_S)
                display.note(f"away, trying again in {pause:.1f} s: {first_line_of(error)}")
                with suppress(ServiceError):
                    surroundings.ensure()
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


class _Display:
    """A live table in a terminal, now and then a line elsewhere."""

    def __init__(self, console: Console, engine: Engine, name: str) -> None:
        self._console, self._engine, self._name = console, engine, name
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown_at = 0.0

    def __enter__(self) -> "_Display":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(SQLAlchemyError):
            self._show()
        if self._live is not None:
            self._live.stop()

    def note(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(plain(line), markup=False, highlight=False)

    def update(self) -> None:
        """Show how far the run is, if it is time to."""
        pause = 0.5 if self._live is not None else PLAIN_EVERY_S
        if time.monotonic() - self._shown_at >= pause:
            with suppress(SQLAlchemyError):
                self._show()

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        with transaction(self._engine) as connection:
            stages = progress.stages(connection, self._name)
            costs = progress.costs(connection, self._name)
            failures = progress.failures(connection, self._name)
        if self._live is not None:
            table = views.progress_table(self._name, stages, costs, failures)
            self._live.update(table, refresh=True)
        else:
            self.note(views.progress_line(stages))


def outcome(engine: Engine, run_id: int, name: str) -> tuple[int, str]:
    """Return the exit code of a run that ended, and the reason in a line.

    0: every neuron has a score or a reason why none is defined. 3: some failed. 4: it is paused or
    cancelled.
    """
    with transaction(engine) as connection:
        run = runs.get(connection, run_id)
        failed = sum(row["n"] for row in progress.failures(connection, name))
    if run["state"] == "cancelled":
        return 4, "cancelled"
    if run["state"] == "paused":
        return 4, plain(f"paused ({run['pause_cause']}): {run['pause_reason']}")
    if failed:
        return 3, f"done, {failed} neurons failed: see `neurogloss status {name}`"
    return 0, "done"
