"""How the command `orchestrate` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.logs import log_options


@click.command()
@click.argument("configs", metavar="[CONFIG]...", nargs=-1, type=click.Path(path_type=Path))
@log_options(lambda: "info")
def orchestrate(**given: Any) -> None:
    """Begin the runs that the files CONFIG describe, and follow every run until stopped.

    This is for a service that is always up. A run that is paused stays so, whatever starts this: it
    goes on with `neurogloss resume`, or with `neurogloss run`. A file that is refused is tried
    again twice a minute, while the other runs go on.
    """
    action("orchestrate")(**given)
