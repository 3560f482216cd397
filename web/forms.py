"""Requests that change something: only from our own pages, and only where it is allowed."""

import hmac
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Form, Request

from web.controls import Controls
from web.errors import Forbidden
from web.settings import WebSettings

FROM_ELSEWHERE = "The request does not come from a page of this server."


def check_origin(request: Request, csrf: Annotated[str, Form()] = "") -> None:
    """Refuse what another site, or a page of an earlier server, sends.

    Raises:
        Forbidden: It is sent from elsewhere, or without the secret that our pages hold.
    """
    origin = request.headers.get("origin")
    # Programs such as curl send no Origin; they have to send the secret all the same.
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Forbidden(FROM_ELSEWHERE, "Open the page here and send it again.")
    # As bytes, since `compare_digest` raises an error for text that is not ASCII.
    if not hmac.compare_digest(csrf.encode(), request.app.state.csrf.encode()):
        raise Forbidden(FROM_ELSEWHERE, "Reload the page and send it again.")


def is_from_elsewhere(request: Request) -> bool:
    """Return whether a page of another site sent the browser here, as its header says."""
    return request.headers.get("sec-fetch-site") in ("cross-site", "same-site")


def _controls_of(request: Request) -> Controls:
    settings: WebSettings = request.app.state.settings
    if settings.controls is None:
        raise Forbidden("This server only reads.", "Start it with --allow-control to change runs.")
    return settings.controls


FromHere = Depends(check_origin)
"""A dependency of every route that changes something."""

Control = Annotated[Controls, Depends(_controls_of)]
"""What changes runs, where the server may."""
