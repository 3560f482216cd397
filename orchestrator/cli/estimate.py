"""How the command `estimate` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--latency-s",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that a call takes. Default: estimated from the length of the answer.",
)
@click.option(
    "--reasoning-tokens",
    type=click.IntRange(min=0),
    help="Tokens that a model thinks before each answer. Default: as measured, or none.",
)
@json_option
def estimate(**given: Any) -> None:
    """Estimate calls, tokens, cost and time of the run in CONFIG, without making a call.

    Prompts are counted on neurons of the run, if it exists and has collected some, and on excerpts
    of its corpus otherwise; where model or corpus are not on this machine, on other texts. Where
    another run with the same models and prompts is done, such as a trial over a few neurons, calls
    and tokens are as they were there, with what was thought and what had to be asked for again.
    """
    action("estimate")(**given)
