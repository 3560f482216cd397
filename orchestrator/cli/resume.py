"""How the command `resume` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.logs import level_beside_a_display, log_options
from orchestrator.cli.options import json_option


@click.command()
@click.argument("name", required=False)
@json_option
@log_options(level_beside_a_display)
def resume(**given: Any) -> None:
    """Continue run NAME, or the latest one, and follow it, as `run` does with its configuration."""
    action("resume")(**given)
