"""Reading JSON that a server wrote, as Python reads it.

Some servers write NaN, a byte order mark or half a surrogate pair, which strict parsers refuse. An
answer with one of them was paid for, and asking again would bring the same.
"""

import json
from typing import Any

import orjson


def read_json(content: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        ValueError: It is no JSON, or is nested too deeply.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        text = content.decode("utf-8-sig", errors="replace")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def without_half_surrogates(text: str) -> str:
    """Return a text that UTF-8 can hold: a replacement character for each half surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
