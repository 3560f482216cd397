"""Failures of a run by class: how many, when, and what some of them say."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

EXAMPLES = 3  # of each class: enough to see what its messages have in common
SPANS = 48  # of time, into which failures are counted


@dataclass(frozen=True, slots=True)
class FailureExample:
    """The failure of one neuron."""

    layer: int
    neuron: int
    message: str
    attempts: int
    request_id: str | None
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class FailureClass:
    """Failures of one class in one stage, with those that came last."""

    stage: str
    failure_class: str
    n: int
    first_at: datetime
    last_at: datetime
    examples: list[FailureExample]


class FailureCount(NamedTuple):
    """How many failures of a class came in a span of time, which begins at `start`."""

    start: datetime
    stage: str
    failure_class: str
    n: int


_CLASSES = """
    SELECT stage, failure_class, count(*) AS n, min(failed_at) AS first_at,
           max(failed_at) AS last_at
    FROM failure WHERE run_id = :run GROUP BY 1, 2
"""
_EXAMPLES = text(f"""
    SELECT stage, failure_class, n, first_at, last_at, example.* FROM ({_CLASSES}) AS classes
    CROSS JOIN LATERAL (
        SELECT layer, neuron, message, attempts, request_id, failed_at FROM failure
        WHERE failure.run_id = :run AND failure.stage = classes.stage
          AND failure.failure_class = classes.failure_class
        ORDER BY failed_at DESC, layer, neuron LIMIT :limit) AS example
    ORDER BY n DESC, stage, failure_class, failed_at DESC, layer, neuron
""")  # noqa: S608  (a constant)

# Spans are as wide as fits the run, and begin with its first failure.
_COUNTS = text("""
    WITH ends AS (
        SELECT min(failed_at) AS first_at,
               greatest((max(failed_at) - min(failed_at)) / (:spans - 1), interval '1 minute')
                   AS width
        FROM failure WHERE run_id = :run)
    SELECT date_bin(width, failed_at, first_at) AS start, stage, failure_class, count(*)
    FROM failure, ends WHERE run_id = :run GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")


def failure_classes(
    connection: Connection, run_id: int, examples: int = EXAMPLES
) -> list[FailureClass]:
    """Return the failures of a run by stage and class, the most frequent first."""
    classes: list[FailureClass] = []
    for row in connection.execute(_EXAMPLES, {"run": run_id, "limit": examples}):
        stage, failure_class, n, first_at, last_at, *example = row
        found = FailureClass(stage, failure_class, n, first_at, last_at, [])
        if not classes or replace(classes[-1], examples=[]) != found:
            classes.append(found)
        classes[-1].examples.append(FailureExample(*example))
    return classes


def over_time(connection: Connection, run_id: int, spans: int = SPANS) -> list[FailureCount]:
    """Return how many failures of each class came in spans of time; of none where there are none.

    There are so many spans from the first failure to the last; none is shorter than a minute.
    """
    rows = connection.execute(_COUNTS, {"run": run_id, "spans": spans})
    return [FailureCount(*row) for row in rows]
