"""How the command `demo` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.logs import level_beside_a_display, log_options
from orchestrator.cli.options import json_option


@click.command()
@json_option
@log_options(level_beside_a_display)
def demo(**given: Any) -> None:
    """Explain and score every neuron of the demo model, here and now, without any API."""
    action("demo")(**given)
