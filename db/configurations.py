"""Configurations of runs as they are stored: what differs between two of them."""

import json
from typing import Any


def differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Return a line for each key that differs between two frozen configurations."""
    lines = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {_shown(old)} -> {_shown(new)}")
    return lines


def _shown(value: Any) -> str:
    """Return a value as TOML writes it; `none` for a key that is left out."""
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
