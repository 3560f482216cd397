"""The command `restore`: fill an empty database from a backup."""

from pathlib import Path

import click

from orchestrator.backup import restore_backup
from orchestrator.environment import find_environment


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def restore(file: Path) -> None:
    """Fill a database without runs from the backup in FILE, by pg_restore.

    Runs go on from where they were with `neurogloss resume`.
    """
    restore_backup(find_environment(), file)
    click.echo(f"{file} is restored: neurogloss verify")
