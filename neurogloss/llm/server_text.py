"""Text that a server wrote, made fit for messages: bounded, on one line and without our key."""

import base64
import html
from functools import lru_cache
from urllib.parse import quote

import httpx
import orjson

_LONGEST_REASON = 300  # characters


def server_text(value: object, secret: str | None) -> str:
    """Return what a server wrote as one line of at most 300 characters, without our key.

    Whatever a server wrote goes through here before it becomes part of a reason, of an event or of
    a stored message: some servers repeat the Authorization header.
    """
    # Before the text is cut, which could leave a part of the key.
    text = without_key(str(value), secret)
    return " ".join(text.split())[:_LONGEST_REASON]


def without_key(text: str, secret: str | None) -> str:
    """Return text in which `[key]` stands for the key, also where it is escaped or encoded."""
    for form in _forms(secret) if secret else ():
        text = text.replace(form, "[key]")
    return text


@lru_cache(maxsize=64)
def _forms(secret: str) -> tuple[str, ...]:
    """Return the ways in which a server may write a key, the longest first."""
    in_json, in_repr = orjson.dumps(secret).decode()[1:-1], repr(secret)[1:-1]
    in_base64 = base64.b64encode(secret.encode()).decode()
    forms = {secret, in_json, in_json.replace("/", r"\/"), in_repr, in_base64}
    forms |= {quote(secret), quote(secret, safe=""), html.escape(secret)}
    return tuple(sorted(forms, key=len, reverse=True))


def request_id(response: httpx.Response, secret: str | None) -> str | None:
    """Return the id by which the server knows the request, if it names one."""
    value = response.headers.get("x-request-id")
    return None if value is None else server_text(value, secret)
