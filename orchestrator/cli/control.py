"""The commands `pause`, `cancel`, `retry` and `set`: say what a run shall do next."""

import os
import sys
import threading
import time

import click

from db import retry, runs
from db.session import transaction
from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.stages import NEURON_STAGES
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.runs.create import refuse_cancelled
from orchestrator.runs.limits import change_limits
from worker.shard import RunJob
from worker.stages.batches.cancel import cancel_batches

CANCELLING_S = 120.0  # that `cancel` waits for endpoints to end their batches


@click.command()
@click.argument("name", required=False)
def pause(name: str | None) -> None:
    """Let no shard of run NAME begin any more; those under way are finished."""
    engine = open_engine()
    found = find_run(engine, name)
    with transaction(engine) as connection:
        if not runs.pause(connection, found["id"], "person", "paused by `neurogloss pause`"):
            raise InputError(f"run {found['name']!r} is {found['state']}")
    click.echo(f"run {found['name']} is paused")


@click.command()
@click.argument("name")
def cancel(name: str) -> None:
    """End run NAME for good; what it has found stays.

    Workers stop within seconds, and store what they have in flight. Batches are cancelled at their
    endpoints, and what these have answered is stored. A cancelled run cannot be resumed; the same
    configuration under another name takes over every answer that was paid for.

    Exit code 1: an endpoint has not ended all batches yet; cancel again to take them over.
    """
    engine = open_engine()
    found = find_run(engine, name)
    with transaction(engine) as connection:
        if not runs.cancel(connection, found["id"]) and found["state"] != "cancelled":
            raise InputError(f"run {name!r} is {found['state']}")
    click.echo(f"run {name} is cancelled")
    config = RunConfig.model_validate(found["config"])
    job = RunJob(engine, found["id"], config, threading.Event(), os.environ)
    deadline = time.monotonic() + CANCELLING_S
    while (left := cancel_batches(job)) and time.monotonic() < deadline:
        time.sleep(1)
    if left:
        click.echo(
            f"{left} batches are not ended yet: `neurogloss cancel {name}` once more", err=True
        )
        sys.exit(1)


@click.command(name="set")
@click.argument("name")
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
def set_command(name: str, assignments: tuple[str, ...]) -> None:
    """Change limits, prices or the budget of run NAME while it runs.

    For example `neurogloss set gpt2-xl budget.usd=300 endpoints.openai.requests_per_minute=5000`.
    Workers take it over within seconds. `none` takes a limit away. What identifies the run cannot
    be changed. `run` with a configuration file sets all of it to what the file says.
    """
    engine = open_engine()
    found = find_run(engine, name)
    for line in change_limits(engine, found["id"], assignments):
        click.echo(line)
    if found["pause_cause"] == "budget":
        click.echo(f"the run is paused: neurogloss resume {name}")


@click.command(name="retry")
@click.argument("name", required=False)
@click.option("--class", "failure_class", help="Only failures of this class.")
@click.option("--stage", type=click.Choice(NEURON_STAGES))
@click.option("--layer", type=int)
def retry_command(
    name: str | None, failure_class: str | None, stage: str | None, layer: int | None
) -> None:
    """Try failed neurons of run NAME again, the next time it is resumed."""
    engine = open_engine()
    found = find_run(engine, name)
    refuse_cancelled(found)
    chosen = {"failure_class": failure_class, "stage": stage, "layer": layer}
    with transaction(engine) as connection:
        count = retry.retry(connection, found["id"], **chosen)  # type: ignore[arg-type]
        if count:
            runs.resume(connection, found["id"])
    click.echo(f"{count} failures will be tried again: neurogloss resume {found['name']}")
