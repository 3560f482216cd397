"""What the command `sql` does: a read-only query."""

import click

from db.read_only import read_only_rows, shown
from orchestrator.cli.run_lookup import open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain


def sql(query: str, as_json: bool) -> None:
    found = read_only_rows(open_engine(), query)
    if as_json:
        print_json([dict(zip(found.columns, row, strict=True)) for row in found.rows])
        return
    for line in (found.columns, *found.rows):
        click.echo("\t".join(plain(shown(value)) for value in line))
