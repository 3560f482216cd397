"""Templates: their environment, and what all of them know."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined

from web.formats import FILTERS


@cache
def templates() -> Environment:
    """Return the environment of the templates; all that is put into them is escaped."""
    environment = Environment(
        loader=PackageLoader("web"),
        autoescape=True,
        # A misspelt name in a template is an error, not an empty place.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals["static"] = static_address
    environment.globals["query_with"] = query_with
    return environment


@cache
def static_address(name: str) -> str:
    """Return the address of a static file, which changes with what is in it."""
    # Browsers keep static files; with a new address they load the new content after an update.
    content = files("web").joinpath("static", name).read_bytes()
    return f"/static/{name}?{hashlib.sha256(content).hexdigest()[:12]}"


def query_with(request: Request, **changes: Any) -> str:
    """Return the query of a request with some parameters changed; those that are None go."""
    kept = [(key, value) for key, value in request.query_params.multi_items() if value != ""]
    pairs = [pair for pair in kept if pair[0] not in changes]
    pairs += [(key, value) for key, value in changes.items() if value is not None]
    return f"?{urlencode(pairs)}" if pairs else "?"


def render(request: Request, template: str, value: Any) -> str:
    """Return a page about a value."""
    settings = request.app.state.settings
    return (
        templates()
        .get_template(template)
        .render(
            value=value,
            request=request,
            can_control=settings.controls is not None,
            csrf=request.app.state.csrf,
            said=request.app.state.said.get(request.query_params.get("said")),
        )
    )


def render_part(template: str, **values: Any) -> str:
    """Return a part of a page, by itself: of a page that is live, or of a file."""
    return templates().get_template(template).render(**values)
