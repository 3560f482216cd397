"""Values of the database and of ours as JSON, which has neither NaN nor infinity: they are null."""

import json
import math
from dataclasses import asdict, is_dataclass
from decimal import Decimal
from typing import Any


def to_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON, in ASCII; bytes as hexadecimal digits, rows as objects."""
    return json.dumps(_finite(value), default=_encoded, indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return _finite(asdict(value))
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _encoded(value: Any) -> str:
    return value.hex() if isinstance(value, bytes | memoryview) else str(value)  # or a date
