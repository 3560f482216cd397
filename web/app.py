"""The application: pages, their JSON, static files, and what guards them."""

import asyncio
import secrets
from importlib.resources import files

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from web.errors import add_error_pages
from web.overview.watched import Watched
from web.pages import ROUTERS
from web.plots.cache import Keeper
from web.security import SecureHeaders, TokenRequired
from web.settings import WebSettings

READERS = 6  # requests that read at a time; a few connections stay for what is read for all of them


def make_app(settings: WebSettings) -> FastAPI:
    """Return the ASGI application of a server with these settings."""
    app = FastAPI(
        title="neurogloss",
        description="What is stored of runs and their neurons. Read-only.",
        docs_url=None,  # pages that load their scripts from elsewhere
        redoc_url=None,
        middleware=_middleware(settings),
    )
    app.state.settings = settings
    app.state.keeper = Keeper(settings.engine)
    # New at each start: a page of an earlier server has to be loaded again before it changes
    # anything.
    app.state.csrf = secrets.token_urlsafe(32)
    app.state.said = {}
    app.state.reading = asyncio.Semaphore(READERS)
    app.state.watched = Watched(settings, app.state.csrf)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=str(files("web") / "static")), name="static")
    add_error_pages(app)
    return app


def _middleware(settings: WebSettings) -> list[Middleware]:
    # The first is the outermost: even a refusal carries the secure headers.
    guards = [
        Middleware(SecureHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False),
    ]
    if settings.token is not None:
        guards.append(Middleware(TokenRequired, token=settings.token))
    return [*guards, Middleware(GZipMiddleware, minimum_size=2000)]
