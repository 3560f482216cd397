"""What the command `serve` does: pages about runs and neurons."""

import ipaddress
import os

import click
from sqlalchemy import Engine

from db.session import make_engine, with_patience
from neurogloss.config.settings import with_driver
from neurogloss.errors import InputError
from orchestrator.cli.logs import FORMAT_VARIABLE, format_name
from orchestrator.cli.run_lookup import open_engine
from orchestrator.controls import RunControls
from orchestrator.datasets.one_neuron import neuron_as
from orchestrator.embedding import QueryEmbeddings
from orchestrator.environment import (
    Environment,
    check_schema,
    find_environment,
    open_database,
    open_reader,
)
from orchestrator.page_server import listen, serve_pages
from orchestrator.sent import SentBodies
from orchestrator.text_worker import worker_for_texts
from web.app import make_app
from web.settings import LOOPBACK, PATIENCE, WebSettings

TOKEN = "NEUROGLOSS_WEB_TOKEN"
HOSTS = "NEUROGLOSS_WEB_HOSTS"
CONTROL_URL = "NEUROGLOSS_CONTROL_DATABASE_URL"


def serve(host: str, port: int, published_at: str | None, allow_control: bool) -> None:
    environment = find_environment()
    engine = with_patience(open_database(environment), PATIENCE)
    settings = WebSettings(
        engine=engine,
        hosts=_hosts(published_at or host),
        token=_token(published_at or host),
        reader=_reader(environment),
        controls=_controls() if allow_control else None,
        neuron_as=neuron_as,
        sent_body=SentBodies(engine),
        embed_query=QueryEmbeddings(os.environ),
    )
    texts_worker = worker_for_texts(environment, engine, {FORMAT_VARIABLE: format_name()})
    with listen(host, port) as listening, texts_worker:
        port = listening.getsockname()[1]
        click.echo(f"http://{_in_address(host)}:{port}/  (Ctrl-C to stop)", err=True)
        serve_pages(make_app(settings), listening)


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


def _reader(environment: Environment) -> Engine | None:
    reader = open_reader(environment)
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
