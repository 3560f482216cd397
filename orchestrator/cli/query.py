"""The commands `neuron`, `search` and `sql`: look at what is stored."""

from dataclasses import asdict

import click
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db import results
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal import candidates, evaluations, views
from orchestrator.cli.terminal.neuron import load_page, neuron_lines
from orchestrator.cli.terminal.printing import json_option, print_json


@click.command()
@click.argument("layer", type=int)
@click.argument("neuron", type=int)
@click.option("--run", "name", help="The run; the latest one unless given.")
@click.option("--records", "n_records", default=5, show_default=True, help="Records of each kind.")
@json_option
def neuron(layer: int, neuron: int, name: str | None, n_records: int, as_json: bool) -> None:
    """Show neuron LAYER NEURON: explanation, scores, records, baselines, connections."""
    engine = open_engine()
    found = find_run(engine, name)
    with transaction(engine) as connection:
        page = load_page(connection, found["name"], layer, neuron)
    if page is None:
        raise InputError(f"run {found['name']!r} has no neuron {neuron} in layer {layer}")
    beside = evaluations.evaluations_of(page.stored, page.texts)
    others = candidates.candidates_of(page.stored)
    if as_json:
        print_json(asdict(page.summary) | others | beside)
        return
    parts = [neuron_lines(page, n_records)]
    parts += [candidates.neuron_lines(others)] if others["candidates"] else []
    Console().print(*parts, evaluations.neuron_lines(beside), sep="\n")


@click.command()
@click.argument("words")
@click.option("--run", "name", help="The run; the latest one unless given.")
@click.option("--limit", default=20, show_default=True)
@json_option
def search(words: str, name: str | None, limit: int, as_json: bool) -> None:
    """Find neurons by WORDS of their explanations, best score first."""
    engine = open_engine()
    found = find_run(engine, name)
    with transaction(engine) as connection:
        rows = results.search(connection, found["name"], words, limit)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        Console().print(views.best_table(rows))


@click.command()
@click.argument("query")
@json_option
def sql(query: str, as_json: bool) -> None:
    """Run a read-only QUERY, for example on the views run_progress and neuron_summary."""
    engine = open_engine()
    try:
        with engine.connect() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            # Also of what follows a COMMIT in the query.
            connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
            found = connection.exec_driver_sql(query)
            columns, rows = list(found.keys()), [tuple(row) for row in found]
    except DBAPIError as error:
        raise InputError(f"the query failed: {str(error.orig).strip()}") from error
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    for line in (columns, *rows):
        click.echo("\t".join(views.plain(str(value)) for value in line))
