"""The command `cancel`: end a run for good."""

import logging
import os
import sys
import threading
import time

import click

from db import runs
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.logs import log_options
from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from worker.run import Run
from worker.shard import RunJob
from worker.stages.batches.cancel import cancel_batches

log = logging.getLogger(__name__)

MAX_WAIT_S = 120.0  # for endpoints to end their batches, which takes them minutes


@click.command()
@click.argument("name")
@json_option
@log_options(lambda: "warning")
def cancel(name: str, as_json: bool) -> None:
    """End run NAME for good; its results stay.

    Workers stop within seconds and store the answers to calls in flight. Batches are cancelled at
    their endpoints, and their answers so far are stored. A cancelled run cannot be resumed; the
    same configuration under another name reuses every answer that was paid for.

    Exit code 1: an endpoint has not ended all batches yet; cancel again to store their answers.
    """
    engine = open_engine()
    run = find_run(engine, name)
    with transaction(engine) as connection:
        if not runs.cancel(connection, run.id) and run.state != "cancelled":
            raise InputError(f"run {name!r} is {run.state}")
    log.info("run cancelled", extra={"run": name})
    if not as_json:
        click.echo(f"run {name} is cancelled")
    job = RunJob(engine, run.id, Run.of(run).config, threading.Event(), os.environ)
    deadline = time.monotonic() + MAX_WAIT_S
    while (left := cancel_batches(job)) and time.monotonic() < deadline:
        time.sleep(1)
    if as_json:
        print_json({"run": name, "state": "cancelled", "open_batches": left})
    if left:
        click.echo(
            f"{left} batches are not ended yet: `neurogloss cancel {name}` once more", err=True
        )
        sys.exit(1)
