"""The command `mcp`: tools for agents, on standard input and output."""

from importlib.metadata import version

import click

from db.session import with_patience
from neurogloss.errors import InputError
from orchestrator.environment import find_environment, open_database
from orchestrator.text_worker import worker_for_texts
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
    environment = find_environment()
    engine = with_patience(open_database(environment), PATIENCE)
    with worker_for_texts(environment, engine, {}):
        serve_agents(engine, version("neurogloss"))
