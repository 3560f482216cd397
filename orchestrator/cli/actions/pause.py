"""What the command `pause` does: let no further shard begin."""

import click

from orchestrator import controls
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json


def pause(name: str | None, as_json: bool) -> None:
    engine = open_engine()
    run = find_run(engine, name)
    controls.pause(engine, run, "`neurogloss pause`")
    if as_json:
        print_json({"run": run.name, "state": "paused"})
    else:
        click.echo(f"run {run.name} is paused")
