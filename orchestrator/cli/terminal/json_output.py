"""Values as JSON on standard output."""

from typing import Any

import click

from db.json_values import to_json


def print_json(value: Any) -> None:
    """Print a value of the database or of ours as JSON; bytes as hexadecimal digits."""
    click.echo(to_json(value, indent=2))
