"""The progress of a run as one value, for `status --json` and for agents."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from db import progress
from db.evidence import evidence_of
from db.progress import FailureGroup
from db.runs import StoredRun
from neurogloss.neurons.alarms import alarms_of


def status_of(connection: Connection, run: StoredRun) -> dict[str, Any]:
    """Return the state of a run, of its stages and workers, what it cost and how it failed."""
    of_run = progress.of_run(connection, run.name)
    evidence = evidence_of(connection, run.id)
    return {
        "run": run.name,
        "state": run.state,
        "pause_cause": run.pause_cause,
        "pause_reason": run.pause_reason,
        "paused_at": run.paused_at,
        "stages": [asdict(stage) for stage in of_run.stages],
        "cost": [asdict(cost) for cost in of_run.costs],
        "failures": [_failure_values(group) for group in of_run.failures],
        "unanswered": [asdict(requests) for requests in of_run.unanswered],
        "workers": [asdict(worker) for worker in progress.workers(connection)],
        "covered": evidence.covered,
        "control": None if evidence.control is None else asdict(evidence.control),
        "warnings": alarms_of(evidence),
    }


def _failure_values(group: FailureGroup) -> dict[str, Any]:
    """Return a row of the view failure_summary under the names of its columns."""
    names = {"failure_class": "class"}
    return {names.get(name, name): value for name, value in asdict(group).items()}
