"""Objects of JSON from a model folder, which anybody may have written."""

import json
from pathlib import Path
from typing import Any

from neurogloss.errors import InputError


def read_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """Return the object that a file holds, of which no more than `max_bytes` are read.

    Raises:
        InputError: The file cannot be read, is larger, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise InputError(f"{path} is larger than {max_bytes:,} bytes, which no such file needs")
    return parse_object(data, str(path))


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """Return an object of JSON; `where` names it in messages.

    Raises:
        InputError: It is no object of JSON.
    """
    try:
        value = json.loads(data.decode())
    except RecursionError as error:
        raise InputError(f"{where} cannot be read: its values are nested too deep") from error
    except ValueError as error:
        raise InputError(f"{where} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where} holds no object of JSON, which begins with {{")
    return value
