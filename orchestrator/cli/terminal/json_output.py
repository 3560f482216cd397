"""Values as JSON on the terminal."""

import json
from typing import Any

import click


def print_json(value: Any) -> None:
    """Print a value of the database or of ours as JSON; bytes as hexadecimal digits."""
    click.echo(json.dumps(value, default=_encoded, indent=2))


def _encoded(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return value.hex()
    return float(value) if hasattr(value, "as_tuple") else str(value)  # Decimal, else a date
