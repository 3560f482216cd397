"""How the command `backup` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def backup(**given: Any) -> None:
    """Write the whole database to FILE with pg_dump. Runs may continue meanwhile."""
    action("backup")(**given)
