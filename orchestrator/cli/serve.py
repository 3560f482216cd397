"""The command `serve`: pages about runs and neurons."""

import ipaddress
import os

import click
import uvicorn

from db.session import with_patience
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import open_engine
from web.app import make_app
from web.settings import LOOPBACK, PATIENCE, WebSettings

TOKEN = "NEUROGLOSS_WEB_TOKEN"
HOSTS = "NEUROGLOSS_WEB_HOSTS"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8200, show_default=True, help="The port to listen on.")
def serve(host: str, port: int) -> None:
    """Show runs and neurons in a browser, until Ctrl-C.

    An address that others can reach needs a token in NEUROGLOSS_WEB_TOKEN, and the names under
    which it is reached, separated by commas, in NEUROGLOSS_WEB_HOSTS.
    """
    settings = WebSettings(
        engine=with_patience(open_engine(), PATIENCE), hosts=_hosts(host), token=_token(host)
    )
    click.echo(f"http://{_in_address(host)}:{port}/  (Ctrl-C to stop)", err=True)
    uvicorn.run(make_app(settings), host=host, port=port, log_config=None, server_header=False)


def _hosts(host: str) -> tuple[str, ...]:
    named = tuple(name.strip() for name in os.environ.get(HOSTS, "").split(",") if name.strip())
    return (*LOOPBACK, host, *named)


def _token(host: str) -> str | None:
    token = os.environ.get(TOKEN) or None
    if token is None and not _is_loopback(host):
        raise InputError(f"--host {host} can be reached by others: set a token in {TOKEN}")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
