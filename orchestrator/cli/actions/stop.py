"""What the command `stop` does: stop the embedded services."""

import click

from orchestrator.cli.terminal.json_output import print_json
from orchestrator.environment import home_folder
from orchestrator.local.services import services_running, stop_services


def stop(as_json: bool) -> None:
    stopped = stop_services(home_folder()) if any(services_running(home_folder()).values()) else []
    if as_json:
        print_json({"stopped": list(stopped)})
    else:
        click.echo(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
