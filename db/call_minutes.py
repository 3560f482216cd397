"""Calls by the minute: how many had which outcome, how long they took, what they cost.

A row stands for the calls of one stage to one model that ended in one minute with one outcome, so
that there are some thousands for a day, however many calls are made. They are deleted with their
run. Unlike the spend, they are no account: money that turns out to be wasted later stays where it
is.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

ANSWERED = "answered"

# Stored rows have a count for each of these: other bounds would need a migration.
LATENCY_BOUNDS_MS = (250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)
"""Upper bounds of the latency buckets, inclusive; the last bucket has none."""


@dataclass(frozen=True, slots=True)
class CallCount:
    """Calls that ended with one outcome; see `db.tables.calls.CallMinuteColumns`."""

    stage: str
    endpoint: str
    model: str
    outcome: str
    calls: int
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    latency_ms: int = 0
    latency_counts: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_MS) + 1)


_COLUMNS = tuple(field.name for field in fields(CallCount))
_KEY, _SUMS = _COLUMNS[:4], _COLUMNS[4:-1]  # what tells rows apart, what is added up


def latency_counts(latencies_ms: Iterable[int]) -> tuple[int, ...]:
    """Return how many latencies are in each bucket."""
    counts = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    for latency in latencies_ms:
        counts[bisect_left(LATENCY_BOUNDS_MS, latency)] += 1
    return tuple(counts)


def summed(counts: Iterable[CallCount], by: Sequence[str] = _KEY) -> list[CallCount]:
    """Return counts summed by the key columns `by`; the other key columns are empty."""
    groups: dict[tuple[str, ...], list[CallCount]] = {}
    for count in counts:
        groups.setdefault(tuple(getattr(count, name) for name in by), []).append(count)
    return [_sum(dict(zip(by, key, strict=True)), rows) for key, rows in groups.items()]


def _sum(key: Mapping[str, str], rows: Sequence[CallCount]) -> CallCount:
    names = (key.get(name, "") for name in _KEY)
    sums = (sum(getattr(row, name) for row in rows) for name in _SUMS)
    buckets = zip(*(row.latency_counts for row in rows), strict=True)
    return _count([*names, *sums, map(sum, buckets)])


def add(connection: Connection, run_id: int, counts: Sequence[CallCount]) -> None:
    """Add calls to this minute of a run."""
    if counts:
        connection.exec_driver_sql(add_sql(len(counts)), add_values(run_id, counts))


def add_sql(n: int, condition: str = "true") -> str:
    """Return the statement that adds so many rows, for the driver; see `progress.add_spend_sql`."""
    row = f"({', '.join(['%s'] * (1 + len(_COLUMNS)))})"
    sums = ", ".join(f"{name} = stored.{name} + EXCLUDED.{name}" for name in _SUMS)
    return f"""
        INSERT INTO call_minute AS stored (run_id, {", ".join(_COLUMNS)}, minute)
        SELECT added.*, date_trunc('minute', clock_timestamp())
        FROM (VALUES {", ".join([row] * n)}) AS added WHERE {condition}
        ON CONFLICT (run_id, minute, stage, endpoint, model, outcome) DO UPDATE SET {sums},
            latency_counts = ARRAY(
                SELECT a + b
                FROM unnest(stored.latency_counts, EXCLUDED.latency_counts) AS pairs (a, b))
    """  # noqa: S608  (constants)


def add_values(run_id: int, counts: Sequence[CallCount]) -> tuple[object, ...]:
    """Return the values of rows for `add_sql`, ordered so that writers cannot deadlock."""
    rows = sorted(tuple(getattr(count, name) for name in _COLUMNS) for count in counts)
    # The driver writes lists as arrays, and tuples as something else.
    return tuple(value for *values, times in rows for value in (run_id, *values, list(times)))


class CallSpan(NamedTuple):
    """The outcomes of a run's calls in a span of time that began at `start`."""

    start: datetime
    calls: CallCount


def spans(
    connection: Connection, run_id: int, since: timedelta, width: timedelta
) -> list[CallSpan]:
    """Return a run's calls of the time until now, added up over spans of some minutes, in order."""
    values = {"run": run_id, "since": since, "width": width}
    return [CallSpan(start, _count(row)) for start, *row in connection.execute(_SPANS, values)]


def totals(connection: Connection, run_id: int) -> list[CallCount]:
    """Return all calls of a run."""
    return [_count(row) for row in connection.execute(_TOTALS, {"run": run_id})]


def _count(row: Sequence[Any]) -> CallCount:
    values = (*row[:-1], tuple(row[-1]))
    return CallCount(*values)


_ADDED = ", ".join(f"sum({name}){'' if name == 'usd' else '::bigint'}" for name in _SUMS)
_BUCKETS = ", ".join(f"sum(latency_counts[{i + 1}])" for i in range(len(LATENCY_BOUNDS_MS) + 1))
_SUMMED = f"{', '.join(_KEY)}, {_ADDED}, ARRAY[{_BUCKETS}]::bigint[]"
_TOTALS = text(f"""
    SELECT {_SUMMED} FROM call_minute WHERE run_id = :run
    GROUP BY {", ".join(_KEY)} ORDER BY {", ".join(_KEY)}
""")  # noqa: S608  (constants)
# Any fixed origin will do: spans begin at the same moments whenever they are asked for.
_SPANS = text(f"""
    SELECT date_bin(:width, minute, '2020-01-01Z') AS start, {_SUMMED} FROM call_minute
    WHERE run_id = :run AND minute > now() - CAST(:since AS interval)
    GROUP BY start, {", ".join(_KEY)} ORDER BY start, {", ".join(_KEY)}
""")  # noqa: S608  (constants)


def latency_quantile(counts: Sequence[int], share: float) -> float | None:
    """Return the latency in ms below which this share of calls is, from counts by bucket.

    Within a bucket, calls are taken to be spread evenly; above the last bound, that bound is all
    that is known. None without calls.
    """
    wanted = share * sum(counts)
    if wanted == 0:
        return None
    below = 0
    for low, high, n in zip((0, *LATENCY_BOUNDS_MS), LATENCY_BOUNDS_MS, counts, strict=False):
        if n and below + n >= wanted:
            return low + (high - low) * (wanted - below) / n
        below += n
    return float(LATENCY_BOUNDS_MS[-1])
