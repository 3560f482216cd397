"""The command `search`: find neurons by their explanations."""

from dataclasses import asdict

import click

from db import results
from db.session import transaction
from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.summary import neurons_table
from orchestrator.cli.terminal.whole_table import output_console


@click.command()
@click.argument("words")
@click.option("--run", "name", help="Name of the run. Default: the latest run.")
@click.option("--limit", default=20, show_default=True, help="How many neurons to show.")
@json_option
def search(words: str, name: str | None, limit: int, as_json: bool) -> None:
    """Find neurons whose explanation contains WORDS, best score first."""
    engine = open_engine()
    run = find_run(engine, name)
    with transaction(engine) as connection:
        rows = results.search(connection, run.name, words, limit)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        output_console().print(neurons_table(rows))
