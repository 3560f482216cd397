"""What the command `load-neuronpedia` does: load an export into a Neuronpedia of one's own."""

import os
from pathlib import Path

import click
from sqlalchemy.exc import ArgumentError

from db.session import make_engine
from neurogloss.config.settings import with_driver
from neurogloss.errors import InputError
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.progress_bar import progress_bar
from orchestrator.datasets.neuronpedia.loader import load


def load_neuronpedia(folder: Path, as_json: bool) -> None:
    url = os.environ.get("NEURONPEDIA_DATABASE_URL")
    if not url:
        raise InputError("NEURONPEDIA_DATABASE_URL is not set: the Postgres of your Neuronpedia")
    try:
        engine = make_engine(with_driver(url))
    except ArgumentError:
        raise InputError("NEURONPEDIA_DATABASE_URL is no database URL") from None
    with progress_bar("layers") as on_progress:
        stored = load(engine, folder, on_progress)
    if as_json:
        print_json(stored)
        return
    for table, count in stored.items():
        click.echo(f"{table}: {count:,} new rows")
