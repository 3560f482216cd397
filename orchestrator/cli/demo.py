"""The command `demo`: a whole run on the demo model."""

import sys
from pathlib import Path

import click

from neurogloss.config.toml import read_config
from orchestrator.cli.follow import run_to_its_end
from orchestrator.cli.logs import level_beside_a_display, log_options
from orchestrator.cli.options import json_option

DEMO = Path(__file__).with_name("demo.toml")


@click.command()
@json_option
@log_options(level_beside_a_display)
def demo(as_json: bool) -> None:
    """Explain and score every neuron of the demo model, here and now, without any API."""
    sys.exit(run_to_its_end(read_config(DEMO), None, as_json=as_json))
