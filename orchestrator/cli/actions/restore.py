"""What the command `restore` does: fill an empty database from a backup."""

from pathlib import Path

import click

from orchestrator.backup import restore_backup
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.environment import find_environment


def restore(file: Path, as_json: bool) -> None:
    restore_backup(find_environment(), file)
    if as_json:
        print_json({"file": str(file), "restored": True})
    else:
        click.echo(f"{file} is restored: neurogloss verify")
