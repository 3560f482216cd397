"""What the command `cancel` does: end a run for good."""

import logging
import os
import sys
import threading
import time

import click

from db import runs
from db.session import transaction
from neurogloss.errors import InputError
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json
from worker.run import Run
from worker.shard import RunJob
from worker.stages.batches.cancel import cancel_batches

log = logging.getLogger(__name__)

MAX_WAIT_S = 120.0  # for endpoints to end their batches, which takes them minutes


def cancel(name: str, as_json: bool) -> None:
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
