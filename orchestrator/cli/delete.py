"""How the command `delete` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@json_option
def delete(**given: Any) -> None:
    """Delete run NAME with its results and the answers that it paid for.

    The run must have ended: `cancel` ends one. Nothing is deleted if another run uses its answers
    or its records, or if the command is interrupted. Postgres uses the space again for other rows;
    VACUUM FULL gives it back to the disk.
    """
    action("delete")(**given)
