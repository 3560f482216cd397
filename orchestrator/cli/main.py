"""The command `neurogloss`."""

import logging
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from neurogloss.errors import InputError, RunError
from orchestrator.cli import logs
from orchestrator.cli.terminal.encoding import escape_what_cannot_be_written
from orchestrator.cli.terminal.plain import plain_lines
from orchestrator.local.errors import ServiceError, WorkerCrashed

log = logging.getLogger(__name__)

# A command is a function in the module of the same name, with `_` for `-`. The exceptions: names
# that are Python's own.
MODULES = {"set": "set_limits", "import": "import_"}
COMMANDS = (
    "run",
    "demo",
    "status",
    "neuron",
    "search",
    "sql",
    "compare",
    "estimate",
    "pause",
    "resume",
    "cancel",
    "set",
    "retry",
    "verify",
    "export",
    "import",
    "load-neuronpedia",
    "worker",
    "migrate",
    "backup",
    "restore",
    "doctor",
    "stop",
    "rehearsal-server",
)


class _Commands(click.Group):
    """A group that imports a command when it is used: importing all of them takes two seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, or None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        name = MODULES.get(cmd_name, cmd_name.replace("-", "_"))
        command: click.Command = getattr(import_module(f"orchestrator.cli.{name}"), name)
        return command


@click.group(cls=_Commands)
@click.version_option(package_name="neurogloss")
def cli() -> None:
    """Explain every neuron of a GPT-2, and score every explanation."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors caused by its input end in one message and exit code 2."""
    escape_what_cannot_be_written()
    try:
        logs.set_up()
        cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (InputError, ServiceError, WorkerCrashed) as error:
        _complain(str(error))
        sys.exit(2)
    except RunError as error:
        _complain(f"{error.cause}: {error}")
        sys.exit(4)


def _complain(reason: str) -> None:
    """Say on standard error why a command ends, in the format of the logs where that is JSON."""
    if logs.format_name() == "json":
        log.error("command failed", extra={"reason": reason})
    else:
        click.echo(plain_lines(f"neurogloss: {reason}"), err=True)
