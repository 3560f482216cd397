import httpx
import pytest

from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer


@pytest.fixture
def start():
    """Starts servers with the given options; yields a function that returns (server, client)."""
    started = []

    def start(**options):
        server = RehearsalServer(RehearsalOptions(**options)).__enter__()
        client = httpx.Client(base_url=server.base_url)
        started.append((server, client))
        return server, client

    yield start
    for server, client in started:
        client.close()
        server.__exit__(None, None, None)
