"""How the command `load-neuronpedia` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option


@click.command(name="load-neuronpedia")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def load_neuronpedia(**given: Any) -> None:
    """Load an export of --format neuronpedia into a Neuronpedia of your own, with its scores.

    NEURONPEDIA_DATABASE_URL names its Postgres database. Existing rows stay unchanged.
    """
    action("load_neuronpedia")(**given)
