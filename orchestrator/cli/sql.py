"""The command `sql`: a read-only query."""

import click
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from neurogloss.errors import InputError
from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain


@click.command()
@click.argument("query")
@json_option
def sql(query: str, as_json: bool) -> None:
    """Run a read-only QUERY, for example on the views run_progress and neuron_summary."""
    engine = open_engine()
    try:
        with engine.connect() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            # The session too: a COMMIT in the query would end the transaction.
            connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
            result = connection.exec_driver_sql(query)
            columns, rows = list(result.keys()), [tuple(row) for row in result]
    except DBAPIError as error:
        raise InputError(f"the query failed: {str(error.orig).strip()}") from error
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    for line in (columns, *rows):
        click.echo("\t".join(plain(str(value)) for value in line))
