"""The commands `backup` and `restore`: the whole database as one file."""

from pathlib import Path

import click

from orchestrator.backup import back_up, restore
from orchestrator.environment import find_environment, open_database


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Write all runs to FILE, by pg_dump. They may go on meanwhile."""
    surroundings = find_environment()
    open_database(surroundings).dispose()
    back_up(surroundings, file)
    click.echo(f"{file}: {file.stat().st_size:,} bytes")


@click.command(name="restore")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def restore_command(file: Path) -> None:
    """Fill a database without runs from the backup in FILE, by pg_restore.

    Runs go on from where they were with `neurogloss resume`.
    """
    restore(find_environment(), file)
    click.echo(f"{file} is restored: neurogloss verify")
