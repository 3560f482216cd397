"""How the command `set` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command(name="set")
@click.argument("name")
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
@json_option
def set_limits(**given: Any) -> None:
    """Change limits, prices or the budget of run NAME while it runs.

    For example `neurogloss set gpt2-xl budget.usd=300 endpoints.openai.requests_per_minute=5000`.
    Workers apply it within seconds. `none` removes a limit. Other keys identify the run and cannot
    be changed. `run` with a configuration file sets all limits to those of the file.
    """
    action("set_limits")(**given)
