"""The command `neurogloss`."""

import logging
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from neurogloss.errors import InputError, RunError
from orchestrator.cli.terminal.plain import PlainFormatter, plain_lines
from orchestrator.local.errors import ServiceError, WorkerCrashed

COMMANDS = {
    "run": "run.run",
    "demo": "run.demo",
    "status": "status.status",
    "neuron": "query.neuron",
    "search": "query.search",
    "sql": "query.sql",
    "compare": "compare.compare",
    "estimate": "estimate.estimate",
    "pause": "control.pause",
    "resume": "run.resume",
    "cancel": "control.cancel",
    "set": "control.set_command",
    "retry": "control.retry_command",
    "verify": "verify.verify_command",
    "export": "datasets.export",
    "import": "datasets.import_command",
    "load-neuronpedia": "datasets.load_neuronpedia",
    "worker": "services.worker",
    "migrate": "services.migrate",
    "backup": "backup.backup",
    "restore": "backup.restore_command",
    "doctor": "doctor.doctor",
    "stop": "services.stop",
    "rehearsal-server": "rehearsal.rehearsal_server",
}


class _Commands(click.Group):
    """Imports a command when it is used: together they would take two seconds to import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, or None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(".")
        command: click.Command = getattr(import_module(f"orchestrator.cli.{module}"), attribute)
        return command


@click.group(cls=_Commands)
@click.version_option(package_name="neurogloss")
def cli() -> None:
    """Explain every neuron of a GPT-2, and score every explanation."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors of the user's making end in one message and exit code 2."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (InputError, ServiceError, WorkerCrashed) as error:
        click.echo(plain_lines(f"neurogloss: {error}"), err=True)
        sys.exit(2)
    except RunError as error:
        click.echo(plain_lines(f"neurogloss: {error.cause}: {error}"), err=True)
        sys.exit(4)
