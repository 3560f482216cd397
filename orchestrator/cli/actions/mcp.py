"""What the command `mcp` does: tools for agents, on standard input and output."""

from importlib.metadata import version

from db.session import with_patience
from neurogloss.errors import InputError
from orchestrator.environment import find_environment, open_database
from orchestrator.text_worker import worker_for_texts
from web.settings import PATIENCE


def mcp() -> None:
    try:
        from orchestrator.agent_server import serve_agents  # an optional extra
    except ImportError as error:
        raise InputError(f"pip install 'neurogloss[mcp]' first ({error})") from error
    environment = find_environment()
    engine = with_patience(open_database(environment), PATIENCE)
    with worker_for_texts(environment, engine, {}):
        serve_agents(engine, version("neurogloss"))
