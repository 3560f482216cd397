"""Reading a run's TOML file, with a message for each key that is wrong."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neurogloss.config.endpoint import HOLDS_SECRET
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError

_MAX_BYTES = 1_000_000  # of a configuration, which has some thousands
MAX_QUOTED = 200  # characters of a wrong value that a message quotes


def read_config(path: Path) -> RunConfig:
    """Return the configuration in a file.

    Raises:
        InputError: The file cannot be read, is not TOML, or has a wrong key or value.
    """
    try:
        values = tomllib.loads(_text(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # of TOML, of UTF-8, or of a number with too many digits
        raise InputError(f"{path} is not TOML: {error}") from error
    except RecursionError:
        raise InputError(f"{path} is not TOML: it is nested too deeply") from None
    try:
        return RunConfig.model_validate(values).read_in(path.absolute().parent)
    except ValidationError as error:
        raise InputError("\n".join(f"{path}: {line}" for line in config_lines(error))) from error


def _text(path: Path) -> str:
    """Return the text of a file, within bounds: a path may lead to a device without an end."""
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path} has more than {_MAX_BYTES:,} bytes, which no configuration needs")
    return data.decode("utf-8-sig").replace("\r\n", "\n")  # as Windows saves it


def config_lines(error: ValidationError) -> list[str]:
    """Return a line for each wrong key, with what would be right."""
    return [_line(details) for details in error.errors()]


def _line(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "list[constrained-int]")
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}"
    if error["type"] == "missing":
        return f"{key} is missing"
    message: str = error["msg"].removeprefix("Value error, ")
    if not key:
        return message
    if error["type"] == HOLDS_SECRET:
        return f"{key}: {message}"
    return f"{key} = {_shown(error['input'])}: {message[0].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]} ..."
