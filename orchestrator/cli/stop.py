"""The command `stop`: stop the embedded services."""

import click

from orchestrator.environment import home_folder
from orchestrator.local.services import services_running, stop_services


@click.command()
def stop() -> None:
    """Stop the embedded Postgres and Redis."""
    stopped = stop_services(home_folder()) if any(services_running(home_folder()).values()) else []
    click.echo(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
