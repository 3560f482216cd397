"""What the command `retry` does: try failed neurons again."""

import click

from orchestrator import controls
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json


def retry(
    name: str | None,
    failure_class: str | None,
    stage: str | None,
    layer: int | None,
    as_json: bool,
) -> None:
    engine = open_engine()
    run = find_run(engine, name)
    count = controls.retry(engine, run, failure_class=failure_class, stage=stage, layer=layer)
    if as_json:
        print_json({"run": run.name, "failures": count})
    else:
        click.echo(f"{count} failures will be tried again: neurogloss resume {run.name}")
