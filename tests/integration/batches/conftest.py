import pytest

from rehearsal.options import BatchOptions, RehearsalOptions
from rehearsal.server import RehearsalServer
from tests.support.batched_run import Batched


@pytest.fixture
def start(engine):
    """Makes a run on a server with the given options; returns what asks."""
    servers = []

    def start(*, limits=None, budget=None, rehearsal=None, **options):
        chosen = RehearsalOptions(
            batches=BatchOptions(**{"seconds": 0.0, **options}), **(rehearsal or {})
        )
        servers.append(server := RehearsalServer(chosen).__enter__())
        return Batched(engine, server, limits or {}, budget)

    yield start
    for server in servers:
        server.__exit__(None, None, None)
