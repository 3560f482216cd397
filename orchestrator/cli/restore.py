"""The command `restore`: fill an empty database from a backup."""

from pathlib import Path

import click

from orchestrator.backup import restore_backup
from orchestrator.cli.options import json_option
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.environment import find_environment


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def restore(file: Path, as_json: bool) -> None:
    """Restore the backup in FILE into a database without runs, with pg_restore.

    Continue the runs in it with `neurogloss resume`.
    """
    restore_backup(find_environment(), file)
    if as_json:
        print_json({"file": str(file), "restored": True})
    else:
        click.echo(f"{file} is restored: neurogloss verify")
