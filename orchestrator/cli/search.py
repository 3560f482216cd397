"""How the command `search` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("words")
@click.option("--run", "name", help="Name of the run. Default: the latest run.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How many neurons to show.",
)
@click.option(
    "--meaning", is_flag=True, help="Find explanations that mean what WORDS do; see `embed`."
)
@json_option
def search(**given: Any) -> None:
    """Find neurons whose explanation contains WORDS, best score first.

    With --meaning, those whose explanation is nearest in meaning, the nearest first.
    """
    action("search")(**given)
