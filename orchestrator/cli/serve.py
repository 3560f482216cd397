"""How the command `serve` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8200,
    show_default=True,
    help="The port; 0 takes a free one.",
)
@click.option(
    "--published-at",
    metavar="ADDRESS",
    help="In a container: the address of the host under which the port is published.",
)
@click.option(
    "--allow-control",
    is_flag=True,
    help="Let pages pause, resume and retry runs, do neurons again, and change limits.",
)
def serve(**given: Any) -> None:
    """Show runs and neurons in a browser, until Ctrl-C.

    An address that others can reach needs a token in NEUROGLOSS_WEB_TOKEN, and the names under
    which it is reached, separated by commas, in NEUROGLOSS_WEB_HOSTS. What --allow-control does is
    done as the user of NEUROGLOSS_CONTROL_DATABASE_URL, where it is set.
    """
    action("serve")(**given)
