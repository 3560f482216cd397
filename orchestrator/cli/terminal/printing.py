"""What commands share in printing."""

import json
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print a value of the database or of ours as JSON; bytes as hexadecimal digits."""
    click.echo(json.dumps(value, default=_plain, indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return float(value) if hasattr(value, "as_tuple") else str(value)
