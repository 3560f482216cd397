"""The field "text" of a line of JSON, or what is wrong with the line and what would be right."""

import json
from typing import Any

from neurogloss.errors import InputError

_EXPECTED = 'expected a JSON object with a field "text"'
_NAMED = 3  # fields that a message shows
_LONGEST = 40  # characters of a name there


def text_field(line: str, where: str) -> str:
    """Return the field "text" of an object in one line; `where` names the line in messages.

    Raises:
        InputError: The line holds anything else.
    """
    try:
        value = json.loads(line)
    except RecursionError as error:
        raise InputError(f"{where}: {_EXPECTED}; it is nested too deep") from error
    except ValueError as error:
        raise InputError(f"{where}: {_EXPECTED}; {_no_json(line, error)}") from error
    if isinstance(value, list):
        what = "this is a list: write its objects line by line (jq -c '.[]')"
        raise InputError(f"{where}: {_EXPECTED}; {what}")
    if not isinstance(value, dict):
        raise InputError(f"{where}: {_EXPECTED}; this is {_shown(value)}")
    if "text" not in value:
        raise InputError(f"{where}: {_EXPECTED}; {other_names(list(value), 'fields')}")
    return text_of_value(value["text"], where)


def text_of_value(value: object, where: str) -> str:
    """Return a value that has to be a text.

    Raises:
        InputError: It is none.
    """
    if value is None:
        raise InputError(f'{where}: the field "text" is null, not a string: leave it out')
    if not isinstance(value, str):
        raise InputError(f'{where}: the field "text" is not a string but {_shown(value)}')
    return value


def other_names(names: list[str], kind: str) -> str:
    """Return which fields or columns there are in place of the wanted one."""
    if not names:
        return f"there are no {kind}"
    shown = ", ".join(map(_shown, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")
    return f'its {kind} are {shown}: rename the one that holds the text to "text"'


def _no_json(line: str, error: ValueError) -> str:
    if line in ("{", "["):
        how = "jq -c ." if line == "{" else "jq -c '.[]'"
        return f"it goes on in the next line: write each object in one line ({how})"
    place = f" (character {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
    reason = error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"
    return f"it is no JSON: {reason}{place}"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=repr)  # a row of Parquet may hold bytes and dates
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
