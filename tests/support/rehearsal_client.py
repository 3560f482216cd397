"""A rehearsal server, and questions to it, for tests."""

import httpx
import pytest

from rehearsal.options import RehearsalOptions
from rehearsal.server import RehearsalServer

NOTICE = "not a language model"
RECORD = " the\t0\n sea\t7\n .\t0"
SCHEMA = {
    "type": "object",
    "properties": {str(position): {"enum": list(range(11))} for position in range(64)},
    "required": [str(position) for position in range(64)],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "simulation", "schema": SCHEMA}}


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


def ask(client, text=RECORD, headers=None, **parameters):
    request = {"model": "rehearsal", "messages": [{"role": "user", "content": text}], **parameters}
    return client.post("/chat/completions", json=request, headers=headers)


def content(response):
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def error(response):
    return response.json()["error"]
