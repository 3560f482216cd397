"""Numbers, money and times as people read them: the filters of the templates."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from db.bounded_values import CutText
from db.read_only import shown
from web.visible import token, visible

Number = float | int | Decimal | None

NOTHING = "-"
"""Stands where a number is not known: never a zero."""

LONGEST_CELL = 300
"""Characters of a value in a table of query results."""

_STEPS: tuple[tuple[int, str], ...] = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def _is_missing(value: Number) -> bool:
    return value is None or not math.isfinite(value)


def number(value: Number, digits: int = 2) -> str:
    """Return a number with so many digits after the point, and groups of three before it."""
    return NOTHING if value is None or _is_missing(value) else f"{value:z,.{digits}f}"


def count(value: Number) -> str:
    """Return a whole number."""
    return number(value, 0)


def percent(value: Number, digits: int = 0) -> str:
    """Return a share from 0 to 1 in percent."""
    return NOTHING if value is None or _is_missing(value) else f"{100 * value:z.{digits}f} %"


def usd(value: Number) -> str:
    """Return dollars, with as many digits as a small amount needs to be told from nothing."""
    if value is None or _is_missing(value):
        return NOTHING
    size = abs(float(value))
    digits = 2 if size == 0 or size >= 1 else 4 if size >= 0.001 else 6
    return f"${value:,.{digits}f}"


def duration(value: timedelta | float | None) -> str:
    """Return a time span in its two largest units; a number is seconds."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    whole = round(seconds)
    for index, (size, unit) in enumerate(_STEPS):
        if whole >= size:
            parts = f"{whole // size} {unit}"
            if index + 1 < len(_STEPS):
                smaller, name = _STEPS[index + 1]
                rest = whole % size // smaller
                parts += f" {rest} {name}" if rest else ""
            return parts
    return "0 s"


def ago(moment: datetime | None, now: datetime | None = None) -> Markup | str:
    """Return how long ago a moment was, with the moment itself on hover."""
    if moment is None:
        return NOTHING
    passed = (now or datetime.now(UTC)) - moment
    said = "just now" if passed < timedelta(seconds=1) else f"{_largest(passed)} ago"
    shown = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), shown, said
    )


def _largest(span: timedelta) -> str:
    for size, unit in _STEPS:
        if span.total_seconds() >= size:
            return f"{span.total_seconds() // size:.0f} {unit}"
    return "0 s"


def run_address(run: str) -> str:
    """Return the address of a run's page."""
    return f"/runs/{quote(run, safe='')}"


def neuron_address(run: str, layer: int, neuron: int) -> str:
    """Return the address of a neuron's page."""
    return f"{run_address(run)}/neurons/{layer}/{neuron}"


def cell(value: Any) -> str:
    """Return a value of the database as it stands in a table, cut where it is long."""
    text = shown(value)
    size = value.n_bytes if isinstance(value, CutText) else len(text)
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}… ({size:,})"


def code(sentence: str) -> Markup:
    """Return a sentence of ours with what is between backticks as code."""
    parts = sentence.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part
        for index, part in enumerate(parts)
    )


FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": number,
    "count": count,
    "percent": percent,
    "usd": usd,
    "duration": duration,
    "ago": ago,
    "code": code,
    "cell": cell,
    "visible": visible,
    "token": token,
    "run_address": run_address,
}
