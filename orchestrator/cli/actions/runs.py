"""What the command `runs` does: every run of the database."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from db.run_list import RunOverview, overviews
from db.session import transaction
from orchestrator.cli.run_lookup import open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import number, plain
from orchestrator.cli.terminal.whole_table import WholeTable, output_console


def runs(as_json: bool) -> None:
    engine = open_engine()
    with transaction(engine) as connection:
        rows = overviews(connection)
    if as_json:
        print_json([asdict(row) for row in rows])
    elif rows:
        output_console().print(_table(rows))
    else:
        click.echo("there is no run yet")


def _table(rows: Sequence[RunOverview]) -> WholeTable:
    numbers = ("neurons", "scored", "calls", "USD", "created")
    table = WholeTable("runs", texts=("run", "state"), numbers=numbers)
    for row in rows:
        state = f"{row.state} ({row.pause_cause})" if row.pause_cause else row.state
        counts = (f"{n:,}" for n in (row.neurons, row.scored, row.calls))
        created = f"{row.created_at:%Y-%m-%d %H:%M}"
        table.add_row(plain(row.run), state, *counts, number(row.usd, 2), created)
    return table
