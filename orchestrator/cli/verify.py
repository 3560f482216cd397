"""How the command `verify` is called."""

import os
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.options import json_option

MAX_PROCESSES = 8  # unless more are asked for: each has a connection


@click.command()
@click.argument("name", required=False)
@click.option(
    "--repair", "with_repair", is_flag=True, help="First set counters to what the rows say."
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=min(MAX_PROCESSES, os.cpu_count() or 1),
    show_default=True,
    help="Processes that share the layers of a large run.",
)
@json_option
def verify(**given: Any) -> None:
    """Check the consistency of run NAME: recompute what it stores twice, follow every reference.

    Counters of shards, progress and spend are summed again, and scores are computed again from
    stored records and simulations, bit for bit. Records are checked against the rules that they
    were chosen by, and every row that another one names must exist. The run may go on meanwhile.

    Exit code 0: no difference. 1: each difference is named.
    """
    action("verify")(**given)
