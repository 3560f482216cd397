"""What the command `import` does: make a run of a published dataset."""

from dataclasses import asdict

import click

from orchestrator.cli.run_lookup import open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.progress_bar import progress_bar
from orchestrator.datasets.imports.importer import ImportSelection, import_dataset
from orchestrator.datasets.imports.source import open_source


def import_(
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
    dataset = open_source(source, concurrency)
    selection = ImportSelection(name, subject, layers, related, restart)
    engine = open_engine()
    with progress_bar("neurons") as on_progress:
        done = import_dataset(engine, dataset, selection, concurrency, on_progress)
    if as_json:
        print_json(asdict(done))
        return
    click.echo(f"run {done.run}: {done.neurons:,} neurons, {done.resumed:,} of them were there")
    if done.other_explanations:
        click.echo(f"{done.other_explanations:,} further explanations were not taken: one a neuron")
