"""How the command `status` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@json_option
def status(**given: Any) -> None:
    """Show the progress of run NAME, or of the latest one."""
    action("status")(**given)
