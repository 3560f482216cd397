"""The command `status`: how far a run is."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from sqlalchemy import Engine

from db import progress
from db.evidence import evidence_of
from db.progress import FailureGroup, RunProgress, WorkerState
from db.runs import StoredRun
from db.session import transaction
from neurogloss.neurons.alarms import Evidence, alarms_of
from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.alarm_lines import alarm_lines
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.progress import progress_table
from orchestrator.cli.terminal.whole_table import output_console

WATCH_EVERY_S = 1.0


@click.command()
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@json_option
def status(name: str | None, watch: bool, as_json: bool) -> None:
    """Show the progress of run NAME, or of the latest one."""
    engine = open_engine()
    run = find_run(engine, name)
    if as_json:
        with transaction(engine) as connection:
            of_run = progress.of_run(connection, run.name)
            workers = progress.workers(connection)
            evidence = evidence_of(connection, run.id)
        print_json(_values(run, of_run, workers, evidence))
        return
    console = output_console()
    if watch:
        _watch(console, engine, run.name)
        return
    console.print(progress_table(run.name, _progress(engine, run.name)))
    reason = f" ({run.pause_cause}: {run.pause_reason})" if run.pause_cause else ""
    console.print(plain(f"{run.state}{reason}"), markup=False, highlight=False)
    with transaction(engine) as connection:
        lines = list(alarm_lines(evidence_of(connection, run.id)))
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _values(
    run: StoredRun, of_run: RunProgress, workers: Sequence[WorkerState], evidence: Evidence
) -> dict[str, Any]:
    return {
        "run": run.name,
        "state": run.state,
        "pause_cause": run.pause_cause,
        "pause_reason": run.pause_reason,
        "stages": [asdict(stage) for stage in of_run.stages],
        "cost": [asdict(cost) for cost in of_run.costs],
        "failures": [_failure_values(group) for group in of_run.failures],
        "workers": [asdict(worker) for worker in workers],
        "covered": evidence.covered,
        "warnings": alarms_of(evidence),
    }


def _failure_values(group: FailureGroup) -> dict[str, Any]:
    """Return a row of the view failure_summary under the names of its columns."""
    names = {"failure_class": "class"}
    return {names.get(name, name): value for name, value in asdict(group).items()}


def _progress(engine: Engine, name: str) -> RunProgress:
    with transaction(engine) as connection:
        return progress.of_run(connection, name)


def _watch(console: Console, engine: Engine, name: str) -> None:
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(progress_table(name, _progress(engine, name)), refresh=True)
                time.sleep(WATCH_EVERY_S)
        except KeyboardInterrupt:
            return
