"""How the command `text` is called."""

from typing import Any

import click

from db.text_baselines import BASELINES
from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("text")
@click.option("--target", help="The token to explain, such as ' Paris'. Default: the likeliest.")
@click.option("--versus", help="A token to hold it against. Default: the mean of all tokens.")
@click.option("--run", "name", help="Name of the run. Default: the latest run.")
@click.option(
    "--top",
    default=20,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many neurons, and components, to show; 0 for all that are stored.",
)
@click.option(
    "--ablate",
    help="Set these neurons to the baseline and run the text again: L:N,... at all positions, "
    "L:N@P,... at position P.",
)
@click.option(
    "--baseline",
    default="mean",
    show_default=True,
    type=click.Choice(BASELINES),
    help="What neurons are compared with: their mean on the corpus, or zero.",
)
@json_option
def text(**given: Any) -> None:
    """Show which neurons bring about the token that follows TEXT.

    A GPU worker does it, before any shard. On embedded services one is started if none runs.
    """
    action("text")(**given)
