"""How the command `runs` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@json_option
def runs(**given: Any) -> None:
    """List all runs, the oldest first: state, neurons, how many are scored, calls, cost."""
    action("runs")(**given)
