"""How the command `compare` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@click.option("--paper", "with_paper", is_flag=True, help="Compare A with the paper's GPT-2 XL.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many neurons to show, largest difference first.",
)
@click.option(
    "--neurons", type=click.Path(path_type=Path), help="Write all neurons to this file, as JSON."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="Write a plot to this file (.png, .svg or .pdf).",
)
@json_option
def compare(**given: Any) -> None:
    """Compare run A with run B, neuron by neuron, or with the means that the paper published.

    Both compare scores; between runs, explanations and costs too. Layers stand beside those of the
    paper at the same relative depth.
    """
    action("compare")(**given)
