"""The command `sql`: a read-only query."""

from typing import Any

import click
from sqlalchemy.exc import DBAPIError

from db.read_only import read_only_rows
from neurogloss.errors import InputError
from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain

_NOT_A_CURSOR = "42P11"  # invalid_cursor_definition


@click.command()
@click.argument("query")
@json_option
def sql(query: str, as_json: bool) -> None:
    """Run a read-only QUERY, for example on the views run_progress and neuron_summary."""
    try:
        columns, rows = read_only_rows(open_engine(), query)
    except DBAPIError as error:
        raise InputError(f"the query failed: {_reason(error)}") from error
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    for line in (columns, *rows):
        click.echo("\t".join(plain(_shown(value)) for value in line))


def _reason(error: DBAPIError) -> str:
    """Return what the server says of the query, without how it was run."""
    diagnosis = getattr(error.orig, "diag", None)
    message = getattr(diagnosis, "message_primary", None)
    if message is None:
        return str(error.orig).strip()
    if getattr(error.orig, "pgcode", None) == _NOT_A_CURSOR:
        return f"it must be a single, read-only statement ({message})"
    position = getattr(diagnosis, "internal_position", None)
    hint = getattr(diagnosis, "message_hint", None)
    place = f", at character {position}" if position else ""
    return f"{message}{place}" + (f". {hint}" if hint else "")


def _shown(value: Any) -> str:
    """Return a value as text; bytes as psql shows them."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes | memoryview):
        return rf"\x{value.hex()}"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value)
