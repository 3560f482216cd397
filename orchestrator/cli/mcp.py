"""The command `mcp`: tools for agents, on standard input and output."""

from importlib.metadata import version

import click

from db.session import with_patience
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import open_engine
from web.settings import PATIENCE


@click.command()
def mcp() -> None:
    """Offer runs, neurons, search and texts as tools to an agent, over its standard streams.

    An agent's program starts this command itself: docs/agents.md says how to tell it.
    """
    try:
        from orchestrator.agent_server import serve_agents  # an optional extra
    except ImportError as error:
        raise InputError(f"pip install 'neurogloss[mcp]' first ({error})") from error
    serve_agents(with_patience(open_engine(), PATIENCE), version("neurogloss"))
