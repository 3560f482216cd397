"""What the command `delete` does: a run with its results."""

import logging
import sys
from dataclasses import asdict

import click

from db import runs
from db.deletion import delete_run
from db.run_locks import RunLock
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import open_engine
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.progress_line import ProgressLine

log = logging.getLogger(__name__)


def delete(name: str, yes: bool, as_json: bool) -> None:
    engine = open_engine()
    with transaction(engine) as connection:
        run = runs.find(connection, name)
    if run is None:
        raise InputError(f"there is no run {name!r}")
    if not yes:
        _ask(name)
    with RunLock(engine, "import") as lock, ProgressLine("deleting") as progress:
        if not lock.acquire(run.id):
            raise InputError(f"run {name!r} is being imported by another process")
        with transaction(engine) as connection:
            deleted = delete_run(connection, run.id, progress.step)
    log.info("run deleted", extra={"run": name, "rows": deleted.rows})
    if as_json:
        print_json(asdict(deleted))
        return
    with_corpus = ", its corpus with it" if deleted.corpus else ""
    click.echo(
        f"run {plain(name)} is deleted: {deleted.rows:,} rows, "
        f"{deleted.answers:,} answers for {deleted.usd:,.2f} USD among them{with_corpus}"
    )


def _ask(name: str) -> None:
    """Let a person at a terminal confirm it.

    Raises:
        InputError: Nobody can be asked.
        Abort: It is not meant.
    """
    if not sys.stdin.isatty():
        raise InputError("--yes is needed where nobody can be asked")
    click.confirm(f"Delete run {plain(name)} with all results and answers?", abort=True)
