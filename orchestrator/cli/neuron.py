"""How the command `neuron` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("layer", type=int)
@click.argument("neuron", type=int)
@click.option("--run", "name", help="Name of the run. Default: the latest run.")
@click.option(
    "--records",
    "n_records",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How many records of each kind to show.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write one HTML file that needs no server.",
)
@json_option
def neuron(**given: Any) -> None:
    """Show neuron LAYER NEURON: explanation, scores, records, baselines, connections.

    A terminal shows activations as colours; elsewhere they stand after the tokens, from 0 to 10.
    """
    action("neuron")(**given)
