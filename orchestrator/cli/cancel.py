"""How the command `cancel` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.logs import log_options
from orchestrator.cli.options import json_option


@click.command()
@click.argument("name")
@json_option
@log_options(lambda: "warning")
def cancel(**given: Any) -> None:
    """End run NAME for good; its results stay.

    Workers stop within seconds and store the answers to calls in flight. Batches are cancelled at
    their endpoints, and their answers so far are stored. A cancelled run cannot be resumed; the
    same configuration under another name reuses every answer that was paid for.

    Exit code 1: an endpoint has not ended all batches yet; cancel again to store their answers.
    """
    action("cancel")(**given)
