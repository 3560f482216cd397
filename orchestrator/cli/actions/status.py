"""What the command `status` does: how far a run is."""

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from db import progress
from db.evidence import evidence_of
from db.progress import RunProgress
from db.run_status import status_of
from db.runs import StoredRun
from db.session import transaction
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.alarm_lines import alarm_lines
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain

if TYPE_CHECKING:
    from rich.console import Console

# What draws tables is imported where one is drawn: scripts ask for JSON, again and again.
WATCH_EVERY_S = 1.0


def status(name: str | None, watch: bool, as_json: bool) -> None:
    engine = open_engine()
    run = find_run(engine, name)
    if as_json:
        with transaction(engine) as connection:
            value = status_of(connection, run)
        print_json(value)
    else:
        _show(engine, run, watch)


def _show(engine: Engine, run: StoredRun, watch: bool) -> None:
    from orchestrator.cli.terminal.progress import progress_table
    from orchestrator.cli.terminal.whole_table import output_console

    console = output_console()
    if watch:
        _watch(console, engine, run.name)
        return
    console.print(progress_table(run.name, _progress(engine, run.name)))
    since = f" since {run.paused_at.astimezone():%Y-%m-%d %H:%M}" if run.paused_at else ""
    reason = f" ({run.pause_cause}: {run.pause_reason})" if run.pause_cause else ""
    console.print(plain(f"{run.state}{since}{reason}"), markup=False, highlight=False)
    with transaction(engine) as connection:
        lines = list(alarm_lines(evidence_of(connection, run.id)))
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _progress(engine: Engine, name: str) -> RunProgress:
    with transaction(engine) as connection:
        return progress.of_run(connection, name)


def _watch(console: "Console", engine: Engine, name: str) -> None:
    """Show the progress again and again: a live table on a terminal, else a line now and then."""
    from orchestrator.cli.terminal.progress import ProgressDisplay

    read = partial(_progress, engine, name)
    with suppress(KeyboardInterrupt), ProgressDisplay(console, name, read) as display:
        while True:
            display.update()
            time.sleep(WATCH_EVERY_S)
