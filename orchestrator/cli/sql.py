"""How the command `sql` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("query")
@json_option
def sql(**given: Any) -> None:
    """Run a read-only QUERY, for example on the views run_progress and neuron_summary.

    A value of more than 1 MiB is cut, and says so.
    """
    action("sql")(**given)
