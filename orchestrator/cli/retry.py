"""How the command `retry` is called."""

from typing import Any

import click

from neurogloss.errors import FAILURE_CLASSES
from neurogloss.stages import NEURON_STAGES
from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("name", required=False)
@click.option(
    "--class",
    "failure_class",
    type=click.Choice(FAILURE_CLASSES),
    metavar="CLASS",
    help="Reset only failures of this class, as `status` names it.",
)
@click.option("--stage", type=click.Choice(NEURON_STAGES), help="Reset only this stage.")
@click.option("--layer", type=int, help="Reset only this layer.")
@json_option
def retry(**given: Any) -> None:
    """Reset failed neurons of run NAME, or the latest one, so that the next resume tries them."""
    action("retry")(**given)
