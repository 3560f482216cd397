"""The command `export`: write a run as a dataset."""

import os
from dataclasses import asdict
from pathlib import Path

import click

from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.progress_bar import progress_bar

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
def export(name: str | None, format_name: str, folder: Path, processes: int, as_json: bool) -> None:
    """Write run NAME, or the latest one, into a folder as a dataset.

    The same command continues an interrupted export. SHA256SUMS has the checksums of all files.
    """
    from orchestrator.datasets import export as datasets

    engine = open_engine()
    run = find_run(engine, name)
    with progress_bar("neurons") as on_progress:
        done = datasets.export(engine, run.id, format_name, folder, processes, on_progress)
    if as_json:
        print_json({"run": run.name, "folder": str(folder), **asdict(done)})
        return
    click.echo(
        f"run {run.name}: {done.neurons:,} neurons in {done.files:,} files, "
        f"{done.seconds:.0f} s; check them: cd {folder} && sha256sum --quiet --check SHA256SUMS"
    )
