"""What the commands `run`, `demo` and `resume` share: begin or resume a run, and follow it."""

import logging
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from itertools import count

from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import evaluations, progress, results, runs
from db.evidence import evidence_of
from db.progress import RunProgress
from db.runs import StoredRun
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.subject.shape import Shape
from orchestrator.cli.logs import FORMAT_VARIABLE, format_name
from orchestrator.cli.terminal.alarm_lines import alarm_lines
from orchestrator.cli.terminal.json_output import print_json
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.progress import ProgressDisplay
from orchestrator.cli.terminal.progress_line import ProgressLine
from orchestrator.cli.terminal.summary import baselines_table, run_summary
from orchestrator.cli.terminal.whole_table import output_console
from orchestrator.corpus.sources import is_on_hub
from orchestrator.environment import Environment, find_environment, home_folder, open_database
from orchestrator.local.postgres import MOST_WORKERS
from orchestrator.local.workers import LocalWorkers
from orchestrator.run_loop import follow_run
from orchestrator.runs.complete import complete_config
from orchestrator.runs.create import HUB_DOCUMENTS_PER_EXCERPT, create_or_resume
from orchestrator.runs.inputs import check_inputs
from worker.app import app
from worker.outages import retry_while_db_down

log = logging.getLogger(__name__)

BEST = 10  # neurons that the summary shows
LOOK_CLOSER = (
    "look closer:  neurogloss serve (in a browser)   neurogloss neuron 0 0   "
    'neurogloss search WORD   neurogloss sql "select * from neuron_summary limit 10"'
)


def run_to_its_end(
    config: RunConfig,
    local_workers: dict[str, int] | None,
    *,
    waits_while_paused: bool = False,
    as_json: bool = False,
) -> int:
    """Begin the run of a configuration, or resume it, follow it, and return the exit code.

    Args:
        config: The configuration.
        local_workers: How many to start here, by kind; None: one of each on embedded services, none
            elsewhere.
        waits_while_paused: Whether a paused run stays paused, and is followed once it is resumed.
        as_json: Whether standard output has only how it ended, as JSON.
    """
    console = output_console(stderr=as_json)
    shape = check_inputs(config)
    environment = find_environment()
    counts = _worker_counts(environment, local_workers)
    engine = open_database(environment)
    # Celery's application was made on import, when the environment was not known yet.
    app.conf.broker_url = environment.settings.redis_url
    config = complete_config(engine, config)
    try:
        run_id, seconds = _plan_and_follow(
            console, engine, environment, config, shape, counts, waits_while_paused
        )
    except KeyboardInterrupt:
        console.print("\ninterrupted: the same command goes on from here")
        # 128 + 2, the exit code that shells give a program which SIGINT has ended.
        return 130
    code, reason = retry_while_db_down(lambda: outcome(engine, run_id, config.name))
    if as_json:
        print_json({"run": config.name, "exit_code": code, "reason": reason, "seconds": seconds})
        return code
    retry_while_db_down(lambda: _print_results(console, engine, run_id, config.name))
    _print(console, f"run {config.name}: {reason} ({seconds:.0f} s)")
    if code == 0:
        _print(console, LOOK_CLOSER)
    return code


def _plan_and_follow(
    console: Console,
    engine: Engine,
    environment: Environment,
    config: RunConfig,
    shape: Shape | None,
    counts: dict[str, int],
    waits_while_paused: bool,
) -> tuple[int, float]:
    """Return the id of the run, once it has ended, and for how many seconds it was followed."""
    with ExitStack() as opened:
        # A new run is planned while its workers import what they need.
        early = {} if _is_there(engine, config.name) else counts
        workers = opened.enter_context(_local_workers(environment, early))
        run_id = _create_or_resume(engine, config, shape, unpauses=not waits_while_paused)
        run = _load(engine, run_id)
        if chosen := run.simulator:
            _print(console, f"simulator {chosen['kind']}: {plain(chosen['reason'])}")
        if run.state != "running" and not (run.state == "paused" and waits_while_paused):
            return run_id, 0.0
        started = time.monotonic()
        read = partial(progress_unless_away, engine, config.name)
        # A run that exists may be paused or done: its workers start only now, when it goes on.
        workers = workers or opened.enter_context(_local_workers(environment, counts))
        display = opened.enter_context(ProgressDisplay(console, config.name, read))
        follow_run(
            display, engine, environment, run, workers, waits_while_paused=waits_while_paused
        )
    seconds = time.monotonic() - started
    log_end(_load(engine, run_id), seconds)
    return run_id, seconds


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False)


def _create_or_resume(
    engine: Engine, config: RunConfig, shape: Shape | None, *, unpauses: bool
) -> int:
    """Return the id of the run; of a new one, it is shown how many documents have been read."""
    corpus = config.corpus
    limit = HUB_DOCUMENTS_PER_EXCERPT * corpus.excerpts if is_on_hub(corpus.source) else None
    with ProgressLine("cutting the corpus into excerpts,") as progress:
        n_documents = count(1)

        def on_document() -> None:
            progress.step("documents", next(n_documents), limit)

        return create_or_resume(engine, config, shape, on_document, unpauses=unpauses)


def _is_there(engine: Engine, name: str) -> bool:
    def find() -> StoredRun | None:
        with transaction(engine) as connection:
            return runs.find(connection, name)

    return retry_while_db_down(find) is not None


def _load(engine: Engine, run_id: int) -> StoredRun:
    def load() -> StoredRun:
        with transaction(engine) as connection:
            return runs.get(connection, run_id)

    return retry_while_db_down(load)


def _worker_counts(environment: Environment, wanted: dict[str, int] | None) -> dict[str, int]:
    """Return how many workers of each kind to start on this machine.

    Raises:
        InputError: The embedded Postgres has no connections for so many.
    """
    if environment.home is None:
        return wanted or {}
    counts = wanted or {"gpu": 1, "api": 1}
    if sum(counts.values()) > MOST_WORKERS:
        raise InputError(
            f"the embedded Postgres has connections for {MOST_WORKERS} workers: start fewer, or "
            "set DATABASE_URL and REDIS_URL to services of your own"
        )
    return counts


def _local_workers(
    environment: Environment, counts: dict[str, int]
) -> AbstractContextManager[LocalWorkers | None]:
    if not any(counts.values()):
        return nullcontext()
    return LocalWorkers(
        gpu=counts.get("gpu", 0),
        api=counts.get("api", 0),
        env=environment.worker_env() | {FORMAT_VARIABLE: format_name()},
        log_folder=(environment.home or home_folder()) / "logs",
    )


def progress_unless_away(engine: Engine, name: str) -> RunProgress | None:
    """Return how far a run is; None while the database cannot be reached."""
    try:
        with transaction(engine) as connection:
            return progress.of_run(connection, name)
    except SQLAlchemyError:  # the run loop says so, and waits
        return None


def log_end(run: StoredRun, seconds: float) -> None:
    """Log how a run ended that was followed: finished, paused (and why) or cancelled."""
    if run.state == "running":  # another command resumed it, and follows it
        return
    state = "finished" if run.state == "done" else run.state
    why = {"cause": run.pause_cause, "reason": run.pause_reason} if state == "paused" else {}
    fields = {"run": run.name, "run_id": run.id, **why, "seconds": round(seconds, 1)}
    log.info("run %s", state, extra=fields)


def outcome(engine: Engine, run_id: int, name: str) -> tuple[int, str]:
    """Return the exit code of a run that ended, and the reason in a line.

    0: every neuron has a score or a reason why none is defined. 3: some failed. 4: it is paused or
    cancelled, or was paused and goes on by another command.
    """
    with transaction(engine) as connection:
        run = runs.get(connection, run_id)
        n_failed = sum(group.n for group in progress.failures(connection, name))
    if run.state == "cancelled":
        return 4, "cancelled"
    if run.state == "paused":
        return 4, plain(f"paused ({run.pause_cause}): {run.pause_reason}")
    if run.state == "running":
        return 4, f"was paused, and another command resumed it: see `neurogloss status {name}`"
    if n_failed:
        return 3, f"done, {n_failed} neurons failed: see `neurogloss status {name}`"
    return 0, "done"


def _print_results(console: Console, engine: Engine, run_id: int, name: str) -> None:
    """Print scores, layer means, the best neurons, baselines, and what speaks against them."""
    with transaction(engine) as connection:
        histogram = results.score_histogram(connection, run_id)
        means = results.layer_means(connection, run_id)
        best = results.best(connection, name, BEST)
        baselines = evaluations.baseline_means(connection, name)
        lines = list(alarm_lines(evidence_of(connection, run_id)))
    if histogram:
        console.print(run_summary(histogram, means, best))
    if baselines:
        console.print(baselines_table(baselines, means))
    for line in lines:
        _print(console, line)
