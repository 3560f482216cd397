"""The command `neurogloss`."""

import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from sqlalchemy import Engine, RowMapping, text
from sqlalchemy.exc import DBAPIError

from db import migrate as schema
from db import progress, results, retry, runs
from db.session import transaction
from orchestrator import show
from orchestrator.commands.doctor import doctor
from orchestrator.commands.estimate import estimate
from orchestrator.commands.printing import json_option, print_json
from orchestrator.config import DEMO, read_config
from orchestrator.errors import InputError
from orchestrator.follow import follow, outcome
from orchestrator.launch import check_inputs, create_or_resume
from orchestrator.local.errors import ServiceError, WorkerCrashed
from orchestrator.local.services import services_running, stop_services
from orchestrator.local.workers import LocalWorkers
from orchestrator.rehearsal.command import rehearsal_server
from orchestrator.surroundings import (
    Surroundings,
    find_surroundings,
    home_folder,
    open_database,
)
from worker.app import app
from worker.errors import RunError
from worker.run_config import RunConfig
from worker.settings import with_driver


@click.group()
@click.version_option(package_name="neurogloss")
def cli() -> None:
    """Explain every neuron of a GPT-2, and score every explanation."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors of the user's making end in one message and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (InputError, ServiceError, WorkerCrashed) as error:
        click.echo(f"neurogloss: {error}", err=True)
        sys.exit(2)
    except RunError as error:
        click.echo(f"neurogloss: {error.cause}: {error}", err=True)
        sys.exit(4)


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


@cli.command()
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
    sys.exit(_run(read_config(config), local_workers))


@cli.command()
def demo() -> None:
    """Explain and score every neuron of the demo model, here and now, without any API."""
    sys.exit(_run(read_config(DEMO), None))


def _run(config: RunConfig, local_workers: dict[str, int] | None) -> int:
    console = Console()
    shape = check_inputs(config)
    surroundings = find_surroundings()
    engine = open_database(surroundings)
    app.conf.broker_url = surroundings.settings.redis_url
    run_id = _launch(console, engine, config, shape)
    if chosen := _row(engine, run_id)["simulator"]:
        line = f"simulator {chosen['kind']}: {show.plain(chosen['reason'])}"
        console.print(line, markup=False, highlight=False)
    counts = local_workers or ({} if surroundings.home is None else {"gpu": 1, "api": 1})
    started = time.monotonic()
    try:
        if _row(engine, run_id)["state"] == "running":
            with _local_workers(surroundings, counts) as workers:
                follow(console, engine, surroundings, run_id, config.name, workers)
    except KeyboardInterrupt:
        console.print("\ninterrupted: the same command goes on from here")
        return 130
    code, reason = outcome(engine, run_id, config.name)
    show.summary(console, engine, run_id, config.name)
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
    surroundings: Surroundings, counts: dict[str, int]
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
    with transaction(engine) as connection:
        return runs.get(connection, run_id)


def _open() -> Engine:
    return open_database(find_surroundings())


def _find(engine: Engine, name: str | None) -> RowMapping:
    with transaction(engine) as connection:
        found = runs.latest(connection) if name is None else runs.find(connection, name)
    if found is None:
        raise InputError("there is no run yet" if name is None else f"there is no run {name!r}")
    return found


@cli.command()
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Keep showing it until Ctrl-C.")
@json_option
def status(name: str | None, watch: bool, as_json: bool) -> None:
    """Show how far run NAME is, or the latest one."""
    engine = _open()
    found = _find(engine, name)
    if as_json:
        with transaction(engine) as connection:
            parts = _progress(engine, found["name"])
            workers = [dict(row) for row in progress.workers(connection)]
        state = {key: found[key] for key in ("state", "pause_cause", "pause_reason")}
        stages, costs, failures = ([dict(row) for row in rows] for rows in parts)
        values = {"stages": stages, "cost": costs, "failures": failures, "workers": workers}
        print_json({"run": found["name"], **state, **values})
        return
    console = Console()
    if watch:
        _watch(console, engine, found["name"])
        return
    console.print(show.progress_table(found["name"], *_progress(engine, found["name"])))
    reason = f" ({found['pause_cause']}: {found['pause_reason']})" if found["pause_cause"] else ""
    console.print(f"{found['state']}{reason}", markup=False, highlight=False)


def _progress(engine: Engine, name: str) -> tuple[Any, Any, Any]:
    with transaction(engine) as connection:
        return (
            progress.stages(connection, name),
            progress.costs(connection, name),
            progress.failures(connection, name),
        )


def _watch(console: Console, engine: Engine, name: str) -> None:
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(show.progress_table(name, *_progress(engine, name)), refresh=True)
                time.sleep(1)
        except KeyboardInterrupt:
            return


@cli.command()
@click.argument("layer", type=int)
@click.argument("neuron", type=int)
@click.option("--run", "name", help="The run; the latest one unless given.")
@click.option("--records", "n_records", default=5, show_default=True, help="Records of each kind.")
@json_option
def neuron(layer: int, neuron: int, name: str | None, n_records: int, as_json: bool) -> None:
    """Show neuron LAYER NEURON: explanation, scores, records."""
    engine = _open()
    found = _find(engine, name)
    with transaction(engine) as connection:
        row = results.neuron_summary(connection, found["name"], layer, neuron)
    if row is None:
        raise InputError(f"run {found['name']!r} has no neuron {neuron} in layer {layer}")
    if as_json:
        print_json(dict(row))
    else:
        Console().print(show.neuron_page(engine, found["id"], row, n_records))


@cli.command()
@click.argument("words")
@click.option("--run", "name", help="The run; the latest one unless given.")
@click.option("--limit", default=20, show_default=True)
@json_option
def search(words: str, name: str | None, limit: int, as_json: bool) -> None:
    """Find neurons by WORDS of their explanations, best score first."""
    engine = _open()
    found = _find(engine, name)
    with transaction(engine) as connection:
        rows = results.search(connection, found["name"], words, limit)
    if as_json:
        print_json([dict(row) for row in rows])
    else:
        Console().print(show.best_table(rows))


@cli.command()
@click.argument("query")
@json_option
def sql(query: str, as_json: bool) -> None:
    """Run a read-only QUERY, for example on the views run_progress and neuron_summary."""
    engine = _open()
    try:
        with engine.connect() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            found = connection.exec_driver_sql(query)
            columns, rows = list(found.keys()), [tuple(row) for row in found]
    except DBAPIError as error:
        raise InputError(f"the query failed: {str(error.orig).strip()}") from error
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    for line in (columns, *rows):
        click.echo("\t".join(show.plain(str(value)) for value in line))


@cli.command()
@click.argument("name", required=False)
def pause(name: str | None) -> None:
    """Let no shard of run NAME begin any more; those under way are finished."""
    engine = _open()
    found = _find(engine, name)
    with transaction(engine) as connection:
        if not runs.pause(connection, found["id"], "person", "paused by `neurogloss pause`"):
            raise InputError(f"run {found['name']!r} is {found['state']}")
    click.echo(f"run {found['name']} is paused")


@cli.command()
@click.argument("name", required=False)
def resume(name: str | None) -> None:
    """Let run NAME go on, and follow it, as `run` with its configuration would."""
    found = _find(_open(), name)
    sys.exit(_run(RunConfig.model_validate(found["config"]), None))


@cli.command(name="retry")
@click.argument("name", required=False)
@click.option("--class", "failure_class", help="Only failures of this class.")
@click.option("--stage", type=click.Choice(["explain", "simulate", "score"]))
@click.option("--layer", type=int)
def retry_command(
    name: str | None, failure_class: str | None, stage: str | None, layer: int | None
) -> None:
    """Try failed neurons of run NAME again, the next time it is resumed."""
    engine = _open()
    found = _find(engine, name)
    chosen = {"failure_class": failure_class, "stage": stage, "layer": layer}
    with transaction(engine) as connection:
        count = retry.retry(connection, found["id"], **chosen)  # type: ignore[arg-type]
        if count:
            runs.resume(connection, found["id"])
    click.echo(f"{count} failures will be tried again: neurogloss resume {found['name']}")


@cli.command()
@click.argument("kind", type=click.Choice(["gpu", "api"]))
@click.option("--name", help="How the worker is called; its host and process id unless given.")
@click.option(
    "--concurrency", default=4, show_default=True, help="Shards at once, of an api worker."
)
def worker(kind: str, name: str | None, concurrency: int) -> None:
    """Work on the queue KIND until told to stop. Needs DATABASE_URL and REDIS_URL."""
    from worker.parent_watch import exit_with_parent

    surroundings = find_surroundings()
    os.environ.update(
        DATABASE_URL=surroundings.settings.database_url,
        NEUROGLOSS_LEASE_SECONDS=str(surroundings.settings.lease_s),
    )
    app.conf.broker_url = surroundings.settings.redis_url
    os.environ["REDIS_URL"] = surroundings.settings.redis_url
    open_database(surroundings).dispose()
    exit_with_parent()
    pool = ["-P", "solo"] if kind == "gpu" else ["-P", "threads", "-c", str(concurrency)]
    called = name or f"{kind}-{os.getpid()}"
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
    app.worker_main(["worker", "-Q", kind, "-n", f"{called}@%h", *pool, *quiet])


@cli.command()
def migrate() -> None:
    """Bring the database to the schema of this version."""
    url = os.environ.get("DATABASE_URL")
    if url:
        try:
            schema.upgrade(with_driver(url))
        except DBAPIError as error:
            raise InputError(f"DATABASE_URL: {str(error.orig).strip()}") from error
    else:
        _open()
    click.echo(f"the database is at schema {schema.head()}")


cli.add_command(rehearsal_server)
cli.add_command(doctor)
cli.add_command(estimate)


@cli.command()
def stop() -> None:
    """Stop the embedded Postgres and Redis."""
    stopped = stop_services(home_folder()) if any(services_running(home_folder()).values()) else []
    click.echo(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
