"""The command `neuron`: everything that is stored of one neuron."""

from dataclasses import asdict

import click

from db.neuron_value import neuron_value
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.candidates import candidate_lines
from orchestrator.cli.terminal.evaluations import evaluation_lines
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.neuron import neuron_page
from orchestrator.cli.terminal.whole_table import output_console


@click.command()
@click.argument("layer", type=int)
@click.argument("neuron", type=int)
@click.option("--run", "name", help="Name of the run. Default: the latest run.")
@click.option(
    "--records",
    "n_records",
    default=5,
    show_default=True,
    help="How many records of each kind to show.",
)
@json_option
def neuron(layer: int, neuron: int, name: str | None, n_records: int, as_json: bool) -> None:
    """Show neuron LAYER NEURON: explanation, scores, records, baselines, connections.

    A terminal shows activations as colours; elsewhere they stand after the tokens, from 0 to 10.
    """
    engine = open_engine()
    run = find_run(engine, name)
    shown = {"top": n_records, "random": n_records}
    with transaction(engine) as connection:
        value = neuron_value(connection, run, layer, neuron, shown)
    if value is None:
        raise InputError(f"run {run.name!r} has no neuron {neuron} in layer {layer}")
    if as_json:
        print_json(value)
        return
    console = output_console()
    console.print(neuron_page(value, has_colours=console.color_system is not None))
    values = asdict(value)
    if value.candidates:
        console.print(candidate_lines(values))
    console.print(evaluation_lines(values))
