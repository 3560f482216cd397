"""How the command `stop` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@json_option
def stop(**given: Any) -> None:
    """Stop the embedded Postgres and Redis."""
    action("stop")(**given)
