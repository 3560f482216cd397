"""The reference of all configuration keys, docs/configuration.md, written from the code.

`make docs` writes it; a test compares it with the code.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from neurogloss.config.run import RunConfig
from neurogloss.config.section import MAX_INT

Schema = Mapping[str, Any]

_INTRODUCTION = """\
# Configuration

A run is one TOML file. Every key has the default below, unless it says *required*. Wrong keys and
values are refused with a message before anything is started. Limits, prices, timeouts and the
budget may change while a run is under way (`neurogloss set`, or another file for `neurogloss run`);
all other keys identify the run.

This page is written from the code: `make docs`.
"""
_UNBOUNDED = {MAX_INT, 10**12, 2**63 - 1, 1e12, 1e6}  # limits of storage, not of use


def reference() -> str:
    """Return the page, in Markdown."""
    schema = RunConfig.model_json_schema()
    sections = "\n".join(line for part in _sections(schema) for line in part)
    return f"{_INTRODUCTION}\n{sections}".rstrip() + "\n"


def _sections(schema: Schema) -> Iterator[list[str]]:
    """Yield the lines of each table of the file, the keys outside any table first."""
    yield _section("Outside any table", schema)
    for key, value in schema["properties"].items():
        name = _table_of(value)
        if name is not None:
            heading = f"`[{key}.NAME]`" if key == "endpoints" else f"`[{key}]`"
            yield from _tables(heading, schema["$defs"][name], schema["$defs"])


def _tables(heading: str, table: Schema, tables: Schema) -> Iterator[list[str]]:
    yield _section(heading, table)
    for key, value in table["properties"].items():
        if (name := _table_of(value)) is not None:
            inner = f"{key}.MODEL" if "patternProperties" in value else key
            yield from _tables(f"{heading[:-2]}.{inner}]`", tables[name], tables)


def _section(heading: str, table: Schema) -> list[str]:
    """Return the heading, the description and the keys of one table."""
    required = table.get("required", [])
    rows = [
        f"| `{key}` | {_kind(value)} | {_default(key, value, required)} |"
        for key, value in table["properties"].items()
        if _table_of(value) is None
    ]
    description = _described(inspect.cleandoc(table.get("description", "")))
    lines = [f"## {heading}", "", description, ""] if rows else []
    return [*lines, "| key | value | default |", "|---|---|---|", *rows, ""] if rows else lines


def _described(docstring: str) -> str:
    """Return a docstring as Markdown, which names tables of the file and not classes."""
    text = re.sub(r"`(\w+)Config`", lambda match: f"`[{match[1].lower()}]`", docstring)
    return text.replace("<|", r"\<|")


def _table_of(value: Schema) -> str | None:
    """Return the name of the table that a key stands for; None if it has a plain value."""
    # Tables whose names are free, such as [endpoints.NAME], have a pattern for the names.
    named = [value, *value.get("patternProperties", {}).values()]
    references = (str(one["$ref"]).rpartition("/")[2] for one in named if "$ref" in one)
    return next(references, None)


def _kind(value: Schema) -> str:
    """Return what values a key takes."""
    if "anyOf" in value:
        kinds = [_kind(one) for one in value["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in value:
        return ", ".join(f'`"{one}"`' for one in value["enum"])
    if "const" in value:
        return f'`"{value["const"]}"`'
    if value["type"] == "array":
        return f"list of: {_kind(value['items'])}"
    return _plain_kind(value)


def _plain_kind(value: Schema) -> str:
    name = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
    return name.get(value["type"], "text") + _range(value)


def _range(value: Schema) -> str:
    """Return the range of a number; limits that only storage sets are left out."""
    above = value.get("exclusiveMinimum")
    lowest, highest = value.get("minimum"), value.get("maximum")
    parts = [f", above {_number(above)}"] if above is not None else []
    parts += [f", from {_number(lowest)}"] if lowest is not None else []
    if highest is not None and highest not in _UNBOUNDED:
        parts.append(f" to {_number(highest)}")
    parts += [f", a multiple of {value['multipleOf']}"] if "multipleOf" in value else []
    return "".join(parts)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else str(value)


def _default(key: str, value: Schema, required: list[str]) -> str:
    if key in required:
        return "*required*"
    default = value.get("default", [])
    if default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
