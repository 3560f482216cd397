"""The command `resume`: let a run go on."""

import sys

import click

from orchestrator.cli.follow import run_to_its_end
from orchestrator.cli.logs import level_beside_a_display, log_options
from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import find_run, open_engine
from worker.run import Run


@click.command()
@click.argument("name", required=False)
@json_option
@log_options(level_beside_a_display)
def resume(name: str | None, as_json: bool) -> None:
    """Continue run NAME, or the latest one, and follow it, as `run` does with its configuration."""
    run = find_run(open_engine(), name)
    sys.exit(run_to_its_end(Run.of(run).config, None, as_json=as_json))
