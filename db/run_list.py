"""All runs of a database, at a glance."""

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class RunOverview:
    """One run: its state, its neurons and how many of them are scored, and what it paid."""

    run: str
    state: str
    pause_cause: str | None
    neurons: int
    scored: int
    calls: int
    usd: float
    created_at: datetime
    finished_at: datetime | None


# Neurons without a defined score count as scored: nothing more will be done for them.
_RUNS = f"""
    SELECT {", ".join(field.name for field in fields(RunOverview))}
    FROM (
        SELECT run.name AS run, state, pause_cause, created_at, finished_at, run.id,
               (SELECT count(*) FROM neuron WHERE run_id = run.id) AS neurons,
               (SELECT count(*) FROM score WHERE run_id = run.id) AS scored,
               (SELECT coalesce(sum(calls), 0)::bigint FROM spend WHERE run_id = run.id) AS calls,
               (SELECT coalesce(sum(usd + wasted_usd), 0) FROM spend WHERE run_id = run.id) AS usd
        FROM run) AS overview
    ORDER BY id
"""  # noqa: S608  (names of our own columns)


def overviews(connection: Connection) -> list[RunOverview]:
    """Return all runs, the oldest first."""
    return [RunOverview(*row) for row in connection.execute(text(_RUNS))]


def names(connection: Connection) -> list[str]:
    """Return the names of the runs that can be looked at, the latest first."""
    query = text("SELECT name FROM run WHERE state <> 'importing' ORDER BY id DESC")
    return list(connection.scalars(query))
