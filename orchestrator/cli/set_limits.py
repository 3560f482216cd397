"""The command `set`: change limits, prices or the budget of a run."""

import click

from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.runs.limits import change_limits


@click.command(name="set")
@click.argument("name")
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
@json_option
def set_limits(name: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Change limits, prices or the budget of run NAME while it runs.

    For example `neurogloss set gpt2-xl budget.usd=300 endpoints.openai.requests_per_minute=5000`.
    Workers apply it within seconds. `none` removes a limit. Other keys identify the run and cannot
    be changed. `run` with a configuration file sets all limits to those of the file.
    """
    engine = open_engine()
    run = find_run(engine, name)
    changes = change_limits(engine, run.id, assignments)
    if as_json:
        print_json({"run": run.name, "state": run.state, "changes": changes})
        return
    for line in changes:
        click.echo(line)
    if run.pause_cause == "budget":
        click.echo(f"the run is paused: neurogloss resume {name}")
