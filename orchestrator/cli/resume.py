"""The command `resume`: let a run go on."""

import sys

import click

from neurogloss.config.run import RunConfig
from orchestrator.cli.follow import run_to_its_end
from orchestrator.cli.run_lookup import find_run, open_engine


@click.command()
@click.argument("name", required=False)
def resume(name: str | None) -> None:
    """Let run NAME go on, and follow it, as `run` with its configuration would."""
    run = find_run(open_engine(), name)
    sys.exit(run_to_its_end(RunConfig.model_validate(run["config"]), None))
