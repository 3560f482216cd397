"""How the command `restore` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def restore(**given: Any) -> None:
    """Restore the backup in FILE into a database without runs, with pg_restore.

    Continue the runs in it with `neurogloss resume`.
    """
    action("restore")(**given)
