"""The command `status`: how far a run is."""

import time
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from sqlalchemy import Engine

from db import progress
from db.session import transaction
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal import views
from orchestrator.cli.terminal.printing import json_option, print_json


@click.command()
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Keep showing it until Ctrl-C.")
@json_option
def status(name: str | None, watch: bool, as_json: bool) -> None:
    """Show how far run NAME is, or the latest one."""
    engine = open_engine()
    found = find_run(engine, name)
    if as_json:
        with transaction(engine) as connection:
            parts = _progress(engine, found["name"])
            workers = [dict(row) for row in progress.workers(connection)]
        state = {key: found[key] for key in ("state", "pause_cause", "pause_reason")}
        stages, costs, failures = ([dict(row) for row in rows] for rows in parts)
        values = {"stages": stages, "cost": costs, "failures": failures, "workers": workers}
        print_json({"run": found["name"], **state, **values})
        return
    console = Console()
    if watch:
        _watch(console, engine, found["name"])
        return
    console.print(views.progress_table(found["name"], *_progress(engine, found["name"])))
    reason = f" ({found['pause_cause']}: {found['pause_reason']})" if found["pause_cause"] else ""
    console.print(views.plain(f"{found['state']}{reason}"), markup=False, highlight=False)


def _progress(engine: Engine, name: str) -> tuple[Any, Any, Any]:
    with transaction(engine) as connection:
        return (
            progress.stages(connection, name),
            progress.costs(connection, name),
            progress.failures(connection, name),
        )


def _watch(console: Console, engine: Engine, name: str) -> None:
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(views.progress_table(name, *_progress(engine, name)), refresh=True)
                time.sleep(1)
        except KeyboardInterrupt:
            return
