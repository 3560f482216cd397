"""The command `pause`: let no further shard begin."""

import logging

import click

from db import runs
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import find_run, open_engine

log = logging.getLogger(__name__)


@click.command()
@click.argument("name", required=False)
def pause(name: str | None) -> None:
    """Let no shard of run NAME begin any more; those under way are finished."""
    engine = open_engine()
    run = find_run(engine, name)
    with transaction(engine) as connection:
        if not runs.pause(connection, run.id, "person", "paused by `neurogloss pause`"):
            raise InputError(f"run {run.name!r} is {run.state}")
    log.info("run paused", extra={"run": run.name, "cause": "person"})
    click.echo(f"run {run.name} is paused")
