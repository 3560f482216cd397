"""The command `set`: change limits, prices or the budget of a run."""

import click

from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.runs.limits import change_limits


@click.command(name="set")
@click.argument("name")
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
def set_limits(name: str, assignments: tuple[str, ...]) -> None:
    """Change limits, prices or the budget of run NAME while it runs.

    For example `neurogloss set gpt2-xl budget.usd=300 endpoints.openai.requests_per_minute=5000`.
    Workers apply it within seconds. `none` removes a limit. Other keys identify the run and cannot
    be changed. `run` with a configuration file sets all limits to those of the file.
    """
    engine = open_engine()
    run = find_run(engine, name)
    for line in change_limits(engine, run.id, assignments):
        click.echo(line)
    if run.pause_cause == "budget":
        click.echo(f"the run is paused: neurogloss resume {name}")
