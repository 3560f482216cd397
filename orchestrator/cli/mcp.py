"""How the command `mcp` is called."""

from typing import Any

import click

from orchestrator.cli.actions import action


@click.command()
def mcp(**given: Any) -> None:
    """Offer runs, neurons, search and texts as tools to an agent, over its standard streams.

    An agent's program starts this command itself: docs/agents.md says how to tell it.
    """
    action("mcp")(**given)
