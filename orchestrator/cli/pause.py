"""The command `pause`: let no further shard begin."""

import click

from orchestrator import controls
from orchestrator.cli.run_lookup import find_run, open_engine


@click.command()
@click.argument("name", required=False)
def pause(name: str | None) -> None:
    """Pause run NAME, or the latest one: start no further shards, finish those in progress."""
    engine = open_engine()
    run = find_run(engine, name)
    controls.pause(engine, run, "`neurogloss pause`")
    click.echo(f"run {run.name} is paused")
