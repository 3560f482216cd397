"""How the command `report` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("name", metavar="RUN", required=False)
@click.option(
    "--output", type=click.Path(path_type=Path), help="The file to write. Default: RUN.html."
)
@click.option(
    "--neurons",
    "n",
    type=click.IntRange(0, 200),
    default=10,
    show_default=True,
    help="How many of the best, of the worst and of random neurons to show.",
)
@json_option
def report(**given: Any) -> None:
    """Write run RUN, or the latest one, to one HTML file that needs no server.

    It holds state, stages, costs and failures, the plots, neurons, and the configuration.
    """
    action("report")(**given)
