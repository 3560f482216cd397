"""The command `serve`: pages about runs and neurons."""

import ipaddress
import os
import socket
from contextlib import suppress

import click
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from db.session import make_engine, with_patience
from neurogloss.config.settings import with_driver
from neurogloss.errors import InputError
from orchestrator.cli.logs import FORMAT_VARIABLE, format_name
from orchestrator.cli.run_lookup import open_engine
from orchestrator.controls import RunControls
from orchestrator.datasets.one_neuron import neuron_as
from orchestrator.environment import check_schema, find_environment, open_reader
from orchestrator.sent import SentBodies
from orchestrator.text_worker import worker_for_texts
from web.app import make_app
from web.settings import LOOPBACK, PATIENCE, WebSettings

TOKEN = "NEUROGLOSS_WEB_TOKEN"
HOSTS = "NEUROGLOSS_WEB_HOSTS"
CONTROL_URL = "NEUROGLOSS_CONTROL_DATABASE_URL"
LAST_ANSWERS_S = 5


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8200, show_default=True, help="The port; 0 takes a free one.")
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
def serve(host: str, port: int, published_at: str | None, allow_control: bool) -> None:
    """Show runs and neurons in a browser, until Ctrl-C.

    An address that others can reach needs a token in NEUROGLOSS_WEB_TOKEN, and the names under
    which it is reached, separated by commas, in NEUROGLOSS_WEB_HOSTS. What --allow-control does is
    done as the user of NEUROGLOSS_CONTROL_DATABASE_URL, where it is set.
    """
    engine = with_patience(open_engine(), PATIENCE)
    settings = WebSettings(
        engine=engine,
        hosts=_hosts(published_at or host),
        token=_token(published_at or host),
        reader=_reader(),
        controls=_controls() if allow_control else None,
        neuron_as=neuron_as,
        sent_body=SentBodies(engine),
    )
    texts_worker = worker_for_texts(find_environment(), engine, {FORMAT_VARIABLE: format_name()})
    with _listening(host, port) as listening, texts_worker:
        port = listening.getsockname()[1]
        click.echo(f"http://{_in_address(host)}:{port}/  (Ctrl-C to stop)", err=True)
        _serve(make_app(settings), listening)


def _controls() -> RunControls:
    """Return what changes runs, by a connection of its own: pages need fewer rights.

    Raises:
        InputError: The database cannot be reached, or has another schema.
    """
    url = os.environ.get(CONTROL_URL)
    if not url:
        return RunControls(with_patience(open_engine(), PATIENCE))
    engine = make_engine(with_driver(url), patience=PATIENCE)
    check_schema(engine)
    return RunControls(engine)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"--host {host} --port {port}: {reason}; 0 takes a free port") from error


def _serve(app: FastAPI, listening: socket.socket) -> None:
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


def _reader() -> Engine | None:
    reader = open_reader(find_environment())
    return None if reader is None else with_patience(reader, PATIENCE)


def _hosts(host: str) -> tuple[str, ...]:
    named = tuple(name.strip() for name in os.environ.get(HOSTS, "").split(",") if name.strip())
    return (*LOOPBACK, host, *named)


def _token(host: str) -> str | None:
    token = os.environ.get(TOKEN) or None
    if token is None and not _is_loopback(host):
        raise InputError(f"{host} can be reached by others: set a token in {TOKEN}")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
