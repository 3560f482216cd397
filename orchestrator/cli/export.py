"""How the command `export` is called."""

import os
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option

MAX_PROCESSES = 8  # unless more are asked for


@click.command()
@click.argument("name", required=False)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["openai", "neuronpedia", "parquet"]),
    required=True,
    help="Format of the dataset.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the dataset; it is created if it does not exist.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=min(MAX_PROCESSES, os.cpu_count() or 1),
    show_default=True,
    help="How many layers to write at the same time.",
)
@json_option
def export(**given: Any) -> None:
    """Write run NAME, or the latest one, into a folder as a dataset.

    The same command continues an interrupted export. SHA256SUMS has the checksums of all files.
    """
    action("export")(**given)
