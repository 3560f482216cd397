"""The command `restore`: fill an empty database from a backup."""

from pathlib import Path

import click

from orchestrator.backup import restore_backup
from orchestrator.environment import find_environment


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def restore(file: Path) -> None:
    """Restore the backup in FILE into a database without runs, with pg_restore.

    Continue the runs in it with `neurogloss resume`.
    """
    restore_backup(find_environment(), file)
    click.echo(f"{file} is restored: neurogloss verify")
