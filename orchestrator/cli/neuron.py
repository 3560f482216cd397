"""The command `neuron`: everything that is stored of one neuron."""

from dataclasses import asdict

import click

from db import corpora, results
from db.neuron import load_neuron
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli import neuron_values
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
    with transaction(engine) as connection:
        summary = results.neuron_summary(connection, run.name, layer, neuron)
        if summary is None:
            raise InputError(f"run {run.name!r} has no neuron {neuron} in layer {layer}")
        stored = load_neuron(connection, run.id, layer, neuron)
        corpus = corpora.get(connection, run.corpus_id)
        texts = corpora.token_texts(connection, corpus.vocabulary_id)
        shown = neuron_values.records_of(connection, run, stored, texts, n_records)
    evaluations = neuron_values.evaluations_of(stored, texts)
    candidates = neuron_values.candidates_of(stored)
    if as_json:
        activations = neuron_values.activations_of(shown)
        print_json(asdict(summary) | activations | candidates | evaluations)
        return
    console = output_console()
    console.print(neuron_page(summary, shown, has_colours=console.color_system is not None))
    if candidates["candidates"]:
        console.print(candidate_lines(candidates))
    console.print(evaluation_lines(evaluations))
