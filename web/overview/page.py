"""All that the page of a run shows, as one value."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from db import progress, runs
from db.evidence import evidence_of
from db.open_shards import OpenShards, open_shards
from db.progress import FailureGroup, StageProgress, WorkerState
from db.runs import StoredRun
from neurogloss.neurons.alarms import alarms_of
from web.overview.limits import ModelUse, used_limits
from web.overview.money import RunMoney, money_of
from web.overview.state import StateInWords, state_of


@dataclass(frozen=True, slots=True)
class RunResults:
    """What takes too long to be read for every page, as it was some seconds ago."""

    read_at: datetime
    failures: list[FailureGroup]
    alarms: list[str]


@dataclass(frozen=True, slots=True)
class RunPage:
    """A run: its state, how far it is, what it costs, and what has come out of it so far.

    `results` is None until it was read for the first time.
    """

    run: str
    model: str
    created_at: datetime
    finished_at: datetime | None
    state: StateInWords
    stages: list[StageProgress]
    money: RunMoney
    uses: list[ModelUse]
    workers: list[WorkerState]
    shards: list[OpenShards]
    results: RunResults | None

    @property
    def alarms(self) -> list[str]:
        """What is wrong though nothing has failed, as far as it was looked at."""
        return self.results.alarms if self.results else []


def read_results(connection: Connection, run_id: int) -> RunResults:
    """Return the results of a run, as far as it is."""
    run = runs.get(connection, run_id)
    return RunResults(
        datetime.now(UTC),
        progress.failures(connection, run.name),
        alarms_of(evidence_of(connection, run_id)),
    )


def load_page(
    connection: Connection, run: StoredRun, results_of: Callable[[int], RunResults | None]
) -> RunPage:
    """Return the page of a run; `results_of` returns what is read in the background."""
    now = datetime.now(UTC)
    stages = progress.stages(connection, run.name)
    uses = used_limits(connection, run, now)
    workers = progress.workers(connection)
    shards = open_shards(connection, run.id)
    return RunPage(
        run=run.name,
        model=_subject_of(run),
        created_at=run.created_at,
        finished_at=run.finished_at,
        state=state_of(run, stages, uses, workers, shards, now),
        stages=stages,
        money=money_of(run, stages, progress.costs(connection, run.name)),
        uses=uses,
        workers=workers,
        shards=shards,
        results=results_of(run.id),
    )


def _subject_of(run: StoredRun) -> str:
    subject = run.config.get("subject")
    return str(subject.get("model", "")) if isinstance(subject, dict) else ""
