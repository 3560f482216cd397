"""How the command `pause` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("name", required=False)
@json_option
def pause(**given: Any) -> None:
    """Pause run NAME, or the latest one: start no further shards, finish those in progress."""
    action("pause")(**given)
