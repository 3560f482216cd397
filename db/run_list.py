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


# Neurons without a defined score count as scored: nothing more will be done for them. Counters of
# the last stage that every neuron goes through say it, where rows would have to be counted.
_RUNS = f"""
    SELECT {", ".join(field.name for field in fields(RunOverview))}
    FROM (
        SELECT run.name AS run, state, pause_cause, created_at, finished_at, run.id,
               coalesce((SELECT sum(total)::bigint FROM progress
                         WHERE run_id = run.id AND stage = 'score'), 0) AS neurons,
               coalesce((SELECT sum(done)::bigint FROM progress
                         WHERE run_id = run.id AND stage = 'score'), 0) AS scored,
               (SELECT coalesce(sum(calls), 0)::bigint FROM spend WHERE run_id = run.id) AS calls,
               (SELECT coalesce(sum(usd + wasted_usd), 0) FROM spend WHERE run_id = run.id) AS usd
        FROM run) AS overview
    ORDER BY id
"""  # noqa: S608  (names of our own columns)


def overviews(connection: Connection) -> list[RunOverview]:
    """Return all runs, the oldest first."""
    return [RunOverview(*row) for row in connection.execute(text(_RUNS))]


@dataclass(frozen=True, slots=True)
class ComparableRun:
    """A run, and the latest other one of a subject model of the same shape, if there is one."""

    run: str
    other: str | None

    @property
    def pair(self) -> tuple[str, str | None]:
        """The two names."""
        return self.run, self.other


_COMPARABLE = text("""
    SELECT name, (
        SELECT name FROM run AS other
        WHERE other.id <> run.id AND other.state <> 'importing'
          AND (other.n_layers, other.neurons_per_layer) = (run.n_layers, run.neurons_per_layer)
        ORDER BY id DESC LIMIT 1)
    FROM run WHERE state <> 'importing' ORDER BY id DESC
""")


def comparable(connection: Connection) -> list[ComparableRun]:
    """Return with what runs can be compared, the latest run first."""
    return [ComparableRun(*row) for row in connection.execute(_COMPARABLE)]


def names(connection: Connection) -> list[str]:
    """Return the names of the runs that can be looked at, the latest first."""
    query = text("SELECT name FROM run WHERE state <> 'importing' ORDER BY id DESC")
    return list(connection.scalars(query))


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """A run that is watched: not over, or not for long."""

    id: int
    run: str
    state: str
    budget_usd: float | None


_CURRENT = text("""
    SELECT id, name, state, budget_usd FROM run
    WHERE state IN ('running', 'paused') OR finished_at > now() - interval '1 day'
    ORDER BY id DESC LIMIT :limit
""")


def current(connection: Connection, limit: int = 50) -> list[CurrentRun]:
    """Return the latest runs that are not over, or ended in the last day."""
    return [CurrentRun(*row) for row in connection.execute(_CURRENT, {"limit": limit})]
