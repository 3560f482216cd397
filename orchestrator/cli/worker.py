"""How the command `worker` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.logs import log_options


@click.command()
@click.argument("kind", type=click.Choice(["gpu", "api"]))
@click.option("--name", help="Name of the worker. Default: its host and process id.")
@click.option(
    "--concurrency",
    default=4,
    show_default=True,
    help="Shards that an api worker processes at once.",
)
@log_options(lambda: "info")
def worker(**given: Any) -> None:
    """Run a worker of the queue KIND until it is stopped. Set DATABASE_URL and REDIS_URL."""
    action("worker")(**given)
