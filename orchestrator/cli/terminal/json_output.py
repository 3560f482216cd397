"""Values as JSON, which has neither NaN nor infinity: they are null."""

import json
import math
from decimal import Decimal
from typing import Any

import click


def print_json(value: Any) -> None:
    """Print a value of the database or of ours as JSON; bytes as hexadecimal digits."""
    click.echo(to_json(value, indent=2))


def to_json(value: Any, indent: int | None = None) -> str:
    """Return a value of the database or of ours as JSON, in ASCII."""
    return json.dumps(_finite(value), default=_encoded, indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _encoded(value: Any) -> str:
    return value.hex() if isinstance(value, bytes | memoryview) else str(value)  # or a date
