"""The commands `export`, `import` and `load-neuronpedia`: datasets out of the database and in."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import ArgumentError

from db.session import make_engine
from neurogloss.config.settings import with_driver
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.printing import json_option, print_json

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
    from orchestrator.datasets.export import export as write

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


class _Layers(click.ParamType[frozenset[int]]):
    """Reads `0,5-7`."""

    name = "0,5-7"

    def convert(self, value: Any, param: Any, ctx: Any) -> frozenset[int]:
        """Return the layers."""
        parts = [re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part) for part in value.split(",")]
        if not all(parts):
            self.fail(f"{value!r} is not of the form 0,5-7", param, ctx)
        ends = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
        found = frozenset(layer for first, last in ends for layer in range(first, last + 1))
        if not found:
            self.fail(f"{value!r} names no layer", param, ctx)
        return found


@click.command(name="import")
@click.argument("source")
@click.option("--format", "format_name", type=click.Choice(["openai"]), default="openai")
@click.option("--name", required=True, help="How the run is to be called.")
@click.option("--subject", help="The subject model, e.g. gpt2-xl, where the dataset has none.")
@click.option("--layers", type=_Layers(), help="Only these; all unless given.")
@click.option("--related", is_flag=True, help="Look for related neurons and tokens on a server.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="Files read at a time. Be kind to servers.",
)
@click.option("--restart", is_flag=True, help="Drop an unfinished import of this name.")
@json_option
def import_command(
    source: str,
    format_name: str,
    name: str,
    subject: str | None,
    layers: frozenset[int] | None,
    related: bool,
    concurrency: int,
    restart: bool,
    as_json: bool,
) -> None:
    """Make a run of the dataset in SOURCE, a folder or an https:// URL.

    OpenAI's own are read from where its repository says they are, with --subject gpt2-xl or gpt2.
    The run appears when all of it is there; an import that was interrupted goes on where it was.
    """
    from orchestrator.datasets.imports.importer import ImportSelection, import_dataset
    from orchestrator.datasets.imports.source import open_source

    opened = open_source(source, concurrency)
    wanted = ImportSelection(name, subject, layers, related, restart)
    engine = open_engine()
    with _progress("neurons") as on_progress:
        done = import_dataset(engine, opened, wanted, concurrency, on_progress)
    if as_json:
        print_json(asdict(done))
        return
    click.echo(f"run {done.run}: {done.neurons:,} neurons, {done.resumed:,} of them were there")
    if done.other_explanations:
        click.echo(f"{done.other_explanations:,} further explanations were not taken: one a neuron")


@click.command(name="load-neuronpedia")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def load_neuronpedia(folder: Path, as_json: bool) -> None:
    """Load an export of --format neuronpedia into a Neuronpedia of your own, with its scores.

    Its Postgres is named by NEURONPEDIA_DATABASE_URL. What is there already stays as it is.
    """
    from orchestrator.datasets.neuronpedia.loader import load

    url = os.environ.get("NEURONPEDIA_DATABASE_URL")
    if not url:
        raise InputError("NEURONPEDIA_DATABASE_URL is not set: the Postgres of your Neuronpedia")
    try:
        engine = make_engine(with_driver(url))
    except ArgumentError:
        raise InputError("NEURONPEDIA_DATABASE_URL is no database URL") from None
    with _progress("layers") as on_progress:
        stored = load(engine, folder, on_progress)
    if as_json:
        print_json(stored)
        return
    for table, count in stored.items():
        click.echo(f"{table}: {count:,} new rows")
