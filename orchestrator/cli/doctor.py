"""How the command `doctor` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@json_option
def doctor(**given: Any) -> None:
    """Check what a run needs: services, schema, workers, and the endpoints of CONFIG.

    Each endpoint is sent a few small calls, and one of full size for each stage of the run, which
    cost a cent or less. Exit code 4: an endpoint refuses.
    """
    action("doctor")(**given)
