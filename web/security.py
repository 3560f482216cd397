"""Access by token, and headers that limit what a browser may do with an answer."""

import base64
import binascii
import hmac
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# No inline script or style, nothing from elsewhere, no frame around a page, no form to elsewhere.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not "no-referrer": with it, browsers say of our own forms that they come from "null".
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class SecureHeaders:
    """ASGI middleware that sets `HEADERS` on every answer that has no such headers of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_secured)


class TokenRequired:
    """ASGI middleware that asks for a token: as a bearer, or as the password of any user."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that shows the token; ask for it otherwise."""
        if scope["type"] == "http" and not self._is_shown(Headers(scope=scope)):
            refusal = PlainTextResponse(
                "The token of NEUROGLOSS_WEB_TOKEN is needed, as the password of any user name.",
                status_code=401,
                headers={"WWW-Authenticate": 'Basic realm="neurogloss", charset="UTF-8"'},
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_shown(self, headers: Headers) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        shown = value.strip().encode() if scheme.lower() == "bearer" else _password(scheme, value)
        # In constant time, or the time of a refusal would tell how much of a guess is right.
        return hmac.compare_digest(shown, self._token)


def _password(scheme: str, value: str) -> bytes:
    # Browsers can only ask for a user and a password, so the token may come as the password.
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
