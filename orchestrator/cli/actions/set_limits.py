"""What the command `set` does: change limits, prices or the budget of a run."""

import click

from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.runs.limits import change_limits


def set_limits(name: str, assignments: tuple[str, ...], as_json: bool) -> None:
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
