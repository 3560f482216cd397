"""The commands `run`, `demo` and `resume`: start a run or go on with it, and follow it."""

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from sqlalchemy import Engine, RowMapping

from db import runs
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.config.toml import read_config
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal import views
from orchestrator.cli.terminal.evaluations import print_baselines
from orchestrator.environment import Environment, find_environment, home_folder, open_database
from orchestrator.local.workers import LocalWorkers
from orchestrator.run_loop import follow_run, outcome
from orchestrator.runs.create import check_inputs, create_or_resume
from orchestrator.runs.derive import with_records_of
from worker.app import app
from worker.outages import retry_while_db_down

DEMO = Path(__file__).with_name("demo.toml")


class _LocalCounts(click.ParamType[dict[str, int]]):
    """Reads `gpu=1,api=2`."""

    name = "gpu=N,api=N"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, int]:
        """Return how many workers of each kind."""
        try:
            counts = {kind: int(n) for kind, n in (part.split("=") for part in value.split(","))}
        except ValueError:
            counts = {"": 0}
        if not counts.keys() <= {"gpu", "api"} or min(counts.values()) < 0:
            self.fail(f"{value!r} is not of the form gpu=1,api=2", param, ctx)
        return {"gpu": 0, "api": 0, **counts}


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--local-workers",
    type=_LocalCounts(),
    help="Workers to start here. Default: gpu=1,api=1 on embedded services, none elsewhere.",
)
def run(config: Path, local_workers: dict[str, int] | None) -> None:
    """Start the run that CONFIG describes, or resume it, and follow it to its end.

    Exit code 0: every neuron is scored. 2: something in the input is wrong. 3: it ended with
    failures. 4: it is paused, or an endpoint does not let it begin.
    """
    sys.exit(run_to_its_end(read_config(config), local_workers))


@click.command()
def demo() -> None:
    """Explain and score every neuron of the demo model, here and now, without any API."""
    sys.exit(run_to_its_end(read_config(DEMO), None))


@click.command()
@click.argument("name", required=False)
def resume(name: str | None) -> None:
    """Let run NAME go on, and follow it, as `run` with its configuration would."""
    found = find_run(open_engine(), name)
    sys.exit(run_to_its_end(RunConfig.model_validate(found["config"]), None))


def run_to_its_end(config: RunConfig, local_workers: dict[str, int] | None) -> int:
    console = Console()
    shape = check_inputs(config)
    surroundings = find_environment()
    engine = open_database(surroundings)
    app.conf.broker_url = surroundings.settings.redis_url
    config = with_records_of(engine, config)
    run_id = _launch(console, engine, config, shape)
    if chosen := _row(engine, run_id)["simulator"]:
        line = f"simulator {chosen['kind']}: {views.plain(chosen['reason'])}"
        console.print(line, markup=False, highlight=False)
    counts = local_workers or ({} if surroundings.home is None else {"gpu": 1, "api": 1})
    started = time.monotonic()
    try:
        if _row(engine, run_id)["state"] == "running":
            with _local_workers(surroundings, counts) as workers:
                follow_run(console, engine, surroundings, run_id, config.name, workers)
    except KeyboardInterrupt:
        console.print("\ninterrupted: the same command goes on from here")
        return 130
    code, reason = retry_while_db_down(lambda: outcome(engine, run_id, config.name))
    retry_while_db_down(lambda: views.summary(console, engine, run_id, config.name))
    retry_while_db_down(lambda: print_baselines(console, engine, run_id, config.name))
    seconds = time.monotonic() - started
    console.print(f"run {config.name}: {reason} ({seconds:.0f} s)", markup=False, highlight=False)
    if code == 0:
        console.print(
            "look closer:  neurogloss neuron 0 0   neurogloss search WORD   "
            'neurogloss sql "select * from neuron_summary limit 10"',
            markup=False,
            highlight=False,
        )
    return code


def _local_workers(
    surroundings: Environment, counts: dict[str, int]
) -> AbstractContextManager[LocalWorkers | None]:
    if not any(counts.values()):
        return nullcontext()
    return LocalWorkers(
        gpu=counts.get("gpu", 0),
        api=counts.get("api", 0),
        env=surroundings.worker_env(),
        log_folder=(surroundings.home or home_folder()) / "logs",
    )


def _launch(console: Console, engine: Engine, config: RunConfig, shape: Any) -> int:
    if not console.is_terminal:
        return create_or_resume(engine, config, shape, lambda: None)
    with console.status("cutting the corpus into excerpts") as status:
        seen = [0]

        def on_document() -> None:
            seen[0] += 1
            status.update(f"cutting the corpus into excerpts: {seen[0]:,} documents")

        return create_or_resume(engine, config, shape, on_document)


def _row(engine: Engine, run_id: int) -> RowMapping:
    def read() -> RowMapping:
        with transaction(engine) as connection:
            return runs.get(connection, run_id)

    return retry_while_db_down(read)
