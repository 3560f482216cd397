"""What the command `neuron` does: everything that is stored of one neuron."""

from dataclasses import asdict
from pathlib import Path

import click

from db.neuron_value import neuron_value
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.candidates import candidate_lines
from orchestrator.cli.terminal.evaluations import evaluation_lines
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.neuron import neuron_page
from orchestrator.cli.terminal.whole_table import output_console
from web.neuron_file import neuron_file


def neuron(
    layer: int, neuron: int, name: str | None, n_records: int, html: Path | None, as_json: bool
) -> None:
    engine = open_engine()
    run = find_run(engine, name)
    shown = {"top": n_records, "random": n_records}
    with transaction(engine) as connection:
        value = neuron_value(connection, run, layer, neuron, shown)
    if value is None:
        raise InputError(f"run {run.name!r} has no neuron {neuron} in layer {layer}")
    if html is not None:
        _write(html, neuron_file(value))
        return
    if as_json:
        print_json(value)
        return
    console = output_console()
    console.print(neuron_page(value, has_colours=console.color_system is not None))
    values = asdict(value)
    if value.candidates:
        console.print(candidate_lines(values))
    console.print(evaluation_lines(values))


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--html {path}: {error.strerror}") from error
    click.echo(f"{path}: {len(content.encode()):,} bytes")
