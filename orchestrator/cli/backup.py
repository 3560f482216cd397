"""The command `backup`: the whole database in one file."""

from pathlib import Path

import click

from orchestrator.backup import back_up
from orchestrator.environment import find_environment, open_database


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Write the whole database to FILE with pg_dump. Runs may continue meanwhile."""
    environment = find_environment()
    open_database(environment).dispose()
    back_up(environment, file)
    click.echo(f"{file}: {file.stat().st_size:,} bytes")
