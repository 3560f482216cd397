"""Pages without a browser: requests to the application, on a database of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from web.app import make_app
from web.settings import WebSettings


@pytest.fixture
def client_of(engine: Engine) -> Iterator[Callable[..., TestClient]]:
    """Return what makes a client of an application with these settings."""
    with ExitStack() as opened:

        def make(**settings: Any) -> TestClient:
            app = make_app(WebSettings(engine=engine, **settings))
            return opened.enter_context(TestClient(app, base_url="http://localhost"))

        yield make


@pytest.fixture
def client(client_of: Callable[..., TestClient]) -> TestClient:
    """Return a client of a server that only reads."""
    return client_of()
