"""The command `neurogloss`."""

import errno
import gc
import logging
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module

import click
from click_didyoumean import DYMGroup

from neurogloss.errors import InputError, RunError
from orchestrator.cli import logs
from orchestrator.cli.extras import advice, extra_for
from orchestrator.cli.terminal.encoding import escape_what_cannot_be_written
from orchestrator.cli.terminal.plain import plain_lines
from orchestrator.local.errors import ServiceError, WorkerCrashed

_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how Python holds bytes that are not UTF-8

log = logging.getLogger(__name__)

# A command is a function in the module of the same name, with `_` for `-`. The exceptions: names
# that are Python's own.
MODULES = {"set": "set_limits", "import": "import_"}
COMMANDS = {
    "run": "Start or resume the run that a configuration file describes",
    "demo": "Explain and score all neurons of the demo model on this machine",
    "runs": "List all runs with state, progress and cost",
    "status": "Show the progress of a run",
    "neuron": "Show a neuron: explanation, scores, records, connections",
    "search": "Find neurons by words in their explanation",
    "embed": "Make explanations searchable by meaning",
    "serve": "Show runs and neurons in a browser",
    "mcp": "Offer runs and neurons as tools to an agent",
    "text": "Show which neurons bring about the token that follows a text",
    "sql": "Run a read-only query on the database",
    "report": "Write a run to one HTML file, with plots",
    "compare": "Compare two runs, or a run with the published scores",
    "estimate": "Estimate calls, tokens, cost and time before a run",
    "pause": "Pause a run",
    "resume": "Resume a run and follow it to its end",
    "cancel": "End a run for good; its results stay",
    "delete": "Delete a run with its results",
    "set": "Change limits, prices or the budget of a run",
    "retry": "Reset failed neurons, so that they are tried again",
    "verify": "Check the consistency of a run",
    "export": "Write a run to a folder as a dataset",
    "import": "Import a dataset as a run",
    "load-neuronpedia": "Load an export for Neuronpedia into its database",
    "orchestrate": "Follow every run until stopped, as a service",
    "worker": "Run a worker until it is stopped",
    "migrate": "Update the schema of the database",
    "backup": "Write the database to a file",
    "restore": "Restore a backup into an empty database",
    "doctor": "Check the services and endpoints that a run needs",
    "stop": "Stop the embedded Postgres and Redis",
    "rehearsal-server": "Serve a stand-in for an LLM API that costs nothing",
}


class _Commands(DYMGroup):  # type: ignore[misc]  # without types
    """A group that imports a command when it is used."""

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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command is for, which the commands are not imported for."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if is_wanted:
        # Late: it imports what no other command needs.
        from orchestrator.cli.version import version_lines

        click.echo(version_lines())
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version with its commit, and the build of torch.",
)
def cli() -> None:
    """Explain every neuron of a GPT-2, and score every explanation."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors caused by its input end in one message and exit code 2."""
    # The collector would go hundreds of times through what imports and plans make, none of which is
    # garbage: half a second of the start of a run.
    gc.set_threshold(50_000, 10, 10)
    escape_what_cannot_be_written()
    try:
        logs.set_up()
        cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _complain(f"{error.strerror}: the output, or a file, cannot be written")
        sys.exit(2)
    except UnicodeEncodeError as error:
        _complain_of_bytes(sys.argv[1:] if arguments is None else arguments, error)
        sys.exit(2)
    except (InputError, ServiceError, WorkerCrashed) as error:
        _complain(str(error))
        sys.exit(2)
    except RunError as error:
        _complain(f"{error.cause}: {error}")
        sys.exit(4)
    except ModuleNotFoundError as error:
        extra = extra_for(error.name)
        if error.name is None or extra is None:
            raise
        _complain(advice(error.name, extra))
        sys.exit(2)
    except Exception as error:
        if not _is_of_database(error):
            raise
        reason = str(error).partition("\n")[0]
        _complain(f"the database does not answer any more: {reason}")
        sys.exit(2)


def _is_of_database(error: Exception) -> bool:
    """Return whether the database went away, or gives way to something else, during a command."""
    from db.session import is_away  # late: it imports SQLAlchemy, which takes long

    return is_away(error)


def _complain_of_bytes(arguments: Sequence[str], error: UnicodeEncodeError) -> None:
    """Name the argument that is not UTF-8, as names and texts in the database are.

    Raises:
        UnicodeEncodeError: There is none: the error is a defect.
    """
    for argument in arguments:
        if _NOT_UTF8.search(argument):
            shown = os.fsencode(argument).decode(errors="backslashreplace")
            return _complain(f"the argument {shown} is not UTF-8")
    raise error


def _complain(reason: str) -> None:
    """Say on standard error why a command ends, in the format of the logs where that is JSON."""
    if logs.format_name() == "json":
        log.error("command failed", extra={"reason": reason})
    else:
        click.echo(plain_lines(f"neurogloss: {reason}"), err=True)
