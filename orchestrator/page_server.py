"""The HTTP server of pages."""

import socket
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from neurogloss.errors import InputError

LAST_ANSWERS_S = 5


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any free one.

    Raises:
        InputError: The address is not of this machine, or somebody listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"--host {host} --port {port}: {reason}; 0 takes a free port") from error


def serve_pages(app: FastAPI, listening: socket.socket) -> None:
    """Serve an application of `web` until the process is interrupted or told to stop."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )
    with suppress(KeyboardInterrupt):
        _Server(config, app).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Ends live pages before it waits for the last answers: their events never end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.watched.close()
        await super().shutdown(sockets)
