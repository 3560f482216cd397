"""The command `verify`: is what a run stores one whole?"""

import sys
import time

import click
from rich.console import Console
from sqlalchemy import Engine, RowMapping

from db import repair
from db.session import transaction
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal import views
from orchestrator.cli.terminal.printing import json_option, print_json
from orchestrator.verify.differences import EXAMPLES, Findings
from orchestrator.verify.verify import verify

SAY_EVERY_S = 10.0  # how far it is, where the output is no terminal


@click.command(name="verify")
@click.argument("name", required=False)
@click.option("--repair", "mend", is_flag=True, help="Set counters to what the rows say, first.")
@json_option
def verify_command(name: str | None, mend: bool, as_json: bool) -> None:
    """Recompute what run NAME stores twice, and follow every reference.

    Counters of shards, progress and spend are summed again, scores are computed again from stored
    records and simulations, bit for bit; records are held against the rules that they were chosen
    by, and whatever is named has to be there. The run may go on meanwhile.

    Exit code 0: no difference. 1: each difference is named.
    """
    engine = open_engine()
    run = find_run(engine, name)
    repaired = _repair(engine, run["id"]) if mend else None
    found = Findings()
    with _Progress() as progress:
        for difference in found.add(verify(engine, run, progress.step)):
            if not as_json:
                click.echo(views.plain(str(difference)))
    if as_json:
        _print_json(run, found, repaired)
    else:
        _print(run, found, repaired)
    sys.exit(1 if found.counts else 0)


def _repair(engine: Engine, run_id: int) -> int:
    with transaction(engine) as connection:
        changed = repair.repair_shards(connection, run_id)
    with transaction(engine) as connection:
        return changed + repair.repair_spend(connection, run_id)


def _print_json(run: RowMapping, found: Findings, repaired: int | None) -> None:
    differences = [{"check": d.check, "where": d.where, "what": d.what} for d in found.examples]
    counts = {"is_clean": not found.counts, "counts": dict(found.counts)}
    print_json({"run": run["name"], **counts, "repaired": repaired, "differences": differences})


def _print(run: RowMapping, found: Findings, repaired: int | None) -> None:
    if repaired is not None:
        click.echo(f"{repaired} counters were set to what the rows say")
    for check, count in found.counts.items():
        if count > EXAMPLES:
            click.echo(f"{check}: {count:,} differences, of which {EXAMPLES:,} are shown")
    total = sum(found.counts.values())
    click.echo(f"run {run['name']}: {f'{total:,} differences' if total else 'no difference'}")


class _Progress:
    """How far it is: a line that changes in a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        is_live = self._console.is_terminal
        self._status = self._console.status("verifying") if is_live else None
        self._said_at = time.monotonic()

    def __enter__(self) -> "_Progress":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def step(self, what: str, done: int, total: int) -> None:
        """Show what is being checked."""
        pause = 0.2 if self._status is not None else SAY_EVERY_S
        if time.monotonic() - self._said_at < pause:
            return
        self._said_at = time.monotonic()
        line = f"verifying {what}: {done:,} of {total:,}"
        if self._status is not None:
            self._status.update(line)
        else:
            self._console.print(line, markup=False, highlight=False)
