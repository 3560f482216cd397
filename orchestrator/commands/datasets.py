"""The commands `export`, `import` and `load-neuronpedia`: datasets out of the database and in."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.commands.finding import find_run, open_engine
from orchestrator.commands.printing import json_option, print_json

MOST_PROCESSES = 8


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], Any]]:
    """Show a bar on a terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["openai", "neuronpedia", "parquet"]),
    required=True,
)
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=min(MOST_PROCESSES, os.cpu_count() or 1),
    show_default=True,
    help="Layers written at a time.",
)
@json_option
def export(name: str | None, format_name: str, folder: Path, processes: int, as_json: bool) -> None:
    """Write run NAME, or the latest one, into a folder as a dataset.

    An export that was interrupted goes on where it was. SHA256SUMS lists what is in the folder.
    """
    from orchestrator.datasets.exporting import export as write

    engine = open_engine()
    found = find_run(engine, name)
    with _progress("neurons") as on_progress:
        done = write(engine, found["id"], format_name, folder, processes, on_progress)
    if as_json:
        print_json({"run": found["name"], "folder": str(folder), **asdict(done)})
        return
    click.echo(
        f"run {found['name']}: {done.neurons:,} neurons in {done.files:,} files, "
        f"{done.seconds:.0f} s; check them: cd {folder} && sha256sum --quiet --check SHA256SUMS"
    )
