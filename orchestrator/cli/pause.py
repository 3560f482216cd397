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
    """Pause run NAME, or the latest one: start no further shards, finish those in progress."""
    engine = open_engine()
    run = find_run(engine, name)
    with transaction(engine) as connection:
        if not runs.pause(connection, run.id, "person", "paused by `neurogloss pause`"):
            raise InputError(f"run {run.name!r} is {run.state}")
    log.info("run paused", extra={"run": run.name, "cause": "person"})
    click.echo(f"run {run.name} is paused")
