"""Requests that bring no answer, while they are made: how many, why, how many are tried again."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Connection, text

RATE_LIMITED, TIMEOUT, UNAVAILABLE = "rate_limited", "timeout", "unavailable"
OUTCOMES = (TIMEOUT, UNAVAILABLE, RATE_LIMITED)  # after which a call is tried again
SHOWN = timedelta(minutes=15)
STALE_S = 60.0  # of rows whose process may have died


class RetriedCalls(NamedTuple):
    """Calls of a process that are tried again now; `reason` is of the last failure."""

    stage: str
    endpoint: str
    model: str
    calls: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Requests of a stage to a model that brought no answer.

    Attributes:
        requests: Those of the last 15 minutes, by outcome: timeout, unavailable, rate_limited.
        retried: How many calls are tried again now.
        reason: Why the last of them failed; empty where none is tried again.
    """

    stage: str
    endpoint: str
    model: str
    requests: dict[str, int]
    retried: int
    reason: str

    @property
    def advice(self) -> str | None:
        """What may help; None where requests failed for other reasons than slow answers."""
        if TIMEOUT not in self.requests:
            return None
        endpoint = f"endpoints.{self.endpoint}"
        return f"raise {endpoint}.timeout_s, or lower its max_in_flight, if the server is slow"


def replace_retried(
    connection: Connection, run_id: int, process: str, calls: Sequence[RetriedCalls]
) -> None:
    """Store which calls a process tries again, in place of what was stored of it."""
    values = {"run": run_id, "process": process}
    connection.execute(_FORGET, values)
    if calls:
        connection.execute(_STORE, [values | row._asdict() for row in calls])


_FORGET = text("DELETE FROM retried_calls WHERE run_id = :run AND process = :process")
# Not now(), which is the time at which the transaction began: it may have waited for locks.
_STORE = text("""
    INSERT INTO retried_calls (run_id, process, stage, endpoint, model, calls, reason, seen_at)
    VALUES (:run, :process, :stage, :endpoint, :model, :calls, :reason, clock_timestamp())
""")


def unanswered(connection: Connection, run: str) -> list[Unanswered]:
    """Return the requests of a run that brought no answer lately, by stage and model."""
    values = {"run": run, "outcomes": list(OUTCOMES), "since": SHOWN, "stale": STALE_S}
    requests: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    for *key, outcome, n in connection.execute(_REQUESTS, values):
        requests[key[0], key[1], key[2]][outcome] = n
    retried: dict[tuple[str, str, str], tuple[int, str]] = {}
    for *key, n, reason in connection.execute(_RETRIED, values):
        retried[key[0], key[1], key[2]] = n, reason
    return [
        Unanswered(*key, requests.get(key, {}), *retried.get(key, (0, "")))
        for key in sorted(requests.keys() | retried.keys())
    ]


_REQUESTS = text("""
    SELECT stage, endpoint, model, outcome, sum(calls)::int
    FROM call_minute JOIN run ON run.id = run_id
    WHERE run.name = :run AND outcome = ANY(:outcomes)
      AND minute > now() - CAST(:since AS interval)
    GROUP BY stage, endpoint, model, outcome ORDER BY stage, endpoint, model, outcome
""")
_RETRIED = text("""
    SELECT stage, endpoint, model, sum(calls)::int, (array_agg(reason ORDER BY seen_at DESC))[1]
    FROM retried_calls JOIN run ON run.id = run_id
    WHERE run.name = :run AND seen_at > now() - :stale * interval '1 second'
    GROUP BY stage, endpoint, model
""")
