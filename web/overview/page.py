"""All that the page of a run shows, as one value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from db import progress, recent, runs, score_distribution
from db.evidence import evidence_of
from db.open_shards import OpenShards, open_shards
from db.progress import FailureGroup, StageProgress, WorkerState
from db.recent import ScoredNeuron
from db.runs import StoredRun
from db.unanswered import Unanswered, unanswered
from neurogloss.neurons.alarms import alarms_of
from neurogloss.neurons.control_summary import ControlSummary
from web.overview.alarms import alarms_about_calls
from web.overview.heat import SCALES, Scale
from web.overview.limits import ModelUse, used_limits
from web.overview.money import RunMoney, money_of
from web.overview.scores import RunScores, scores_of
from web.overview.state import StateInWords, state_of
from web.plots.catalog import PLOTS
from web.plots.style import Drawing

SHOWN_PLOTS = ("scores", "layers", "lookup", "control", "sparsity")


@dataclass(frozen=True, slots=True)
class RunResults:
    """What takes too long to be read for every page, as it was some seconds ago.

    `covered` is the mean probability of all numbers together; None without log probabilities.
    """

    read_at: datetime
    failures: list[FailureGroup]
    scores: RunScores
    latest: list[ScoredNeuron]
    best: list[ScoredNeuron]
    worst: list[ScoredNeuron]
    control: ControlSummary | None
    covered: float | None
    alarms: list[str]


@dataclass(frozen=True, slots=True)
class RunPage:
    """A run: its state, how far it is, what it costs, and what has come out of it so far.

    `results` is None until it was read for the first time.
    """

    id: int
    run: str
    model: str
    scale: str
    created_at: datetime
    finished_at: datetime | None
    state: StateInWords
    stages: list[StageProgress]
    money: RunMoney
    uses: list[ModelUse]
    unanswered: list[Unanswered]
    workers: list[WorkerState]
    shards: list[OpenShards]
    results: RunResults | None

    @property
    def scales(self) -> Mapping[str, Scale]:
        """What the heat map can be coloured by."""
        return SCALES

    @property
    def plots(self) -> list[Drawing]:
        """The plots that stand on the page; others are one link away."""
        return [PLOTS[name].drawing for name in SHOWN_PLOTS]

    @property
    def alarms(self) -> list[str]:
        """What is wrong though the run goes on, as far as it was looked at."""
        seen = self.results.alarms if self.results else []
        return [*alarms_about_calls(self.uses), *seen]


def read_results(connection: Connection, run_id: int) -> RunResults:
    """Return the results of a run, as far as it is."""
    run = runs.get(connection, run_id)
    layers = score_distribution.by_layer(connection, run_id)
    evidence = evidence_of(connection, run_id)
    return RunResults(
        read_at=datetime.now(UTC),
        failures=progress.failures(connection, run.name),
        scores=scores_of(run, layers),
        latest=recent.latest(connection, run_id),
        best=recent.best_since(connection, run_id),
        worst=recent.worst_since(connection, run_id),
        control=evidence.control,
        covered=evidence.covered,
        alarms=alarms_of(evidence),
    )


def load_page(
    connection: Connection,
    run: StoredRun,
    scale: str,
    results_of: Callable[[int], RunResults | None],
) -> RunPage:
    """Return the page of a run.

    `results_of` returns what is read in the background, and the heat map is coloured by `scale`.
    """
    now = datetime.now(UTC)
    stages = progress.stages(connection, run.name)
    uses = used_limits(connection, run, now)
    workers = progress.workers(connection)
    shards = open_shards(connection, run.id)
    return RunPage(
        id=run.id,
        run=run.name,
        model=_subject_of(run),
        scale=scale,
        created_at=run.created_at,
        finished_at=run.finished_at,
        state=state_of(run, stages, uses, workers, shards, now),
        stages=stages,
        money=money_of(run, stages, progress.costs(connection, run.name)),
        uses=uses,
        unanswered=unanswered(connection, run.name),
        workers=workers,
        shards=shards,
        results=results_of(run.id),
    )


def _subject_of(run: StoredRun) -> str:
    subject = run.config.get("subject")
    return str(subject.get("model", "")) if isinstance(subject, dict) else ""
