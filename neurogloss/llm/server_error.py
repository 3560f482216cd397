"""A server's description of an error: status, code, type, parameter and message, in any form.

OpenAI writes `{"error": {...}}`, Gemini a list of it, FastAPI `{"detail": ...}`, Mistral and vLLM
the fields without a frame, LM Studio `{"error": "text"}`, and proxies a page.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from neurogloss.llm.json_text import read_json

_FRAMES = ("error", "detail", "errors")
_QUOTED = frozenset({"input", "flagged_input", "failed_generation", "ctx", "url"})
"""Fields that repeat what was sent or generated: their words are not the server's."""
_MOST_FIELDS = 200  # of a body that are looked at for the words of an error
_MOST_WORDS = 4000  # characters
_INNER_STATUS = range(400, 600)


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error as a server described it.

    Attributes:
        status: That of the error: the one in the body counts where the response is a success, or
            blames the server for what the body blames on the request. 0 if a success has an error
            without a status.
        code, kind: The fields `code` and `type`, or `status`; empty if missing.
        param: The field `param`, in lower case.
        message: For people.
        words: All that the server said, in lower case, without what it quotes of the request.
        fields: Names and values in the body, from all depths.
        is_json: Whether the body is JSON, as an API would write it, and no page of a proxy.
    """

    status: int
    code: str
    kind: str
    param: str
    message: str
    words: str
    fields: tuple[tuple[str, str], ...]
    is_json: bool

    @property
    def label(self) -> str:
        """Code and type, in lower case."""
        return f"{self.code} {self.kind}".lower()

    def may_be(self, *statuses: int) -> bool:
        """Return whether the status is one of these, or is not known."""
        return self.status in (0, *statuses)


def said_by(response: httpx.Response) -> ServerError:
    """Return what a response says of its error; the response was read to its end."""
    try:
        body = read_json(response.content)
    except ValueError:
        text = response.text[:_MOST_WORDS]
        return ServerError(response.status_code, "", "", "", text, text.lower(), (), is_json=False)
    return said_in(body, response.status_code)


def said_in(body: Any, status: int) -> ServerError:
    """Return what a body says of an error, in a response of this status."""
    error = _frame(body)
    fields = tuple(_fields(body))
    spoken = [value for name, value in fields if name not in _QUOTED]
    return ServerError(
        status=_status(error, status),
        code=_word(error.get("code")),
        kind=_word(error.get("type") or error.get("status")),
        param=(_word(error.get("param")) or _location(error)).lower(),
        message=_message(error, spoken),
        words=" ".join(spoken)[:_MOST_WORDS].lower(),
        fields=fields,
        is_json=True,
    )


def _frame(body: Any) -> Mapping[str, Any]:
    """Return the object that describes the error."""
    if isinstance(body, list):
        return _frame(body[0]) if body else {}
    if not isinstance(body, dict):
        return {"message": body}
    for name in _FRAMES:
        if inner := body.get(name):
            found = inner[0] if isinstance(inner, list) else inner
            return found if isinstance(found, dict) else {**body, "message": found}
    return body


def _status(error: Mapping[str, Any], status: int) -> int:
    inner = _number(error.get("code")) or _number(error.get("status"))
    if inner not in _INNER_STATUS:
        return 0 if status < 300 else status
    is_blamed_on_server = status >= 500 and inner < 500
    # Some servers answer 400 or 500 where the key or a limit is at fault, and say so in the body
    # alone.
    is_clearer = inner in (401, 402, 429) or is_blamed_on_server
    return inner if status < 300 or is_clearer else status


def _number(value: Any) -> int:
    text = str(value)
    return int(text) if len(text) == 3 and text.isascii() and text.isdecimal() else 0


def _word(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)[:_MOST_WORDS]


def _location(error: Mapping[str, Any]) -> str:
    """Return the field that FastAPI names, without `body` before it."""
    place = error.get("loc")
    names = [str(name) for name in place] if isinstance(place, list) else []
    return ".".join(name for name in names if name != "body")


def _message(error: Mapping[str, Any], spoken: list[str]) -> str:
    message = error.get("message") or error.get("msg")
    found = message if isinstance(message, str) else " ".join(spoken)
    return found[:_MOST_WORDS]


def _fields(body: Any) -> Iterator[tuple[str, str]]:
    """Yield the first names and values of a body, from all depths, without recursion."""
    waiting, n_left = [("", body)], _MOST_FIELDS
    while waiting and n_left:
        name, value = waiting.pop(0)
        n_left -= 1
        if isinstance(value, dict):
            inner = [(str(key).lower(), inner) for key, inner in list(value.items())[:n_left]]
            # What stands in a quotation is quoted too.
            waiting[:0] = [(name, v) for _, v in inner] if name in _QUOTED else inner
        elif isinstance(value, list):
            waiting[:0] = [(name, inner) for inner in value[:n_left]]
        elif value is not None and not isinstance(value, bool):
            yield name, str(value)[:_MOST_WORDS]
