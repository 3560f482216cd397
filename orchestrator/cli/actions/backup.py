"""What the command `backup` does: the whole database in one file."""

from pathlib import Path

import click

from orchestrator.backup import back_up
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.environment import find_environment, open_database


def backup(file: Path, as_json: bool) -> None:
    environment = find_environment()
    open_database(environment).dispose()
    back_up(environment, file)
    size = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{file}: {size:,} bytes")
