"""The commands `pause` and `retry`: say what a run shall do next."""

import click

from db import retry, runs
from db.session import transaction
from orchestrator.commands.finding import find_run, open_engine
from orchestrator.errors import InputError


@click.command()
@click.argument("name", required=False)
def pause(name: str | None) -> None:
    """Let no shard of run NAME begin any more; those under way are finished."""
    engine = open_engine()
    found = find_run(engine, name)
    with transaction(engine) as connection:
        if not runs.pause(connection, found["id"], "person", "paused by `neurogloss pause`"):
            raise InputError(f"run {found['name']!r} is {found['state']}")
    click.echo(f"run {found['name']} is paused")


@click.command(name="retry")
@click.argument("name", required=False)
@click.option("--class", "failure_class", help="Only failures of this class.")
@click.option("--stage", type=click.Choice(["explain", "simulate", "score"]))
@click.option("--layer", type=int)
def retry_command(
    name: str | None, failure_class: str | None, stage: str | None, layer: int | None
) -> None:
    """Try failed neurons of run NAME again, the next time it is resumed."""
    engine = open_engine()
    found = find_run(engine, name)
    chosen = {"failure_class": failure_class, "stage": stage, "layer": layer}
    with transaction(engine) as connection:
        count = retry.retry(connection, found["id"], **chosen)  # type: ignore[arg-type]
        if count:
            runs.resume(connection, found["id"])
    click.echo(f"{count} failures will be tried again: neurogloss resume {found['name']}")
