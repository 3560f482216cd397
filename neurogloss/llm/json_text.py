"""Reading JSON that a server wrote, as Python reads it.

Some servers write NaN, a byte order mark, line breaks in texts or half a surrogate pair, which
strict parsers refuse, or another encoding than UTF-8. An answer with one of them was paid for, and
asking again would bring the same.
"""

import json
from typing import Any

import orjson

_REPLACED = "\N{REPLACEMENT CHARACTER}"


def read_json(content: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is no JSON, or is nested too deeply.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        text = _text(content)
    try:
        return json.loads(text, strict=False)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def _text(content: bytes) -> str:
    """Return text in the encoding that it is in, which need not be the one that it should be in."""
    encoding = json.detect_encoding(content[:4])
    if encoding.startswith(("utf-16", "utf-32")):
        return content.decode(encoding, errors="replace")
    text = content.decode("utf-8-sig", errors="replace")
    is_utf8 = any(character != _REPLACED for character in text if not character.isascii())
    if _REPLACED not in text or is_utf8:
        return text
    return content.decode("latin-1")  # where nothing beyond ASCII is UTF-8


def without_half_surrogates(text: str) -> str:
    """Return a text that UTF-8 can hold: a replacement character for each half surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
