"""The command `retry`: try failed neurons again."""

import logging

import click

from db import runs
from db.retry import retry_failures
from db.session import transaction
from neurogloss.stages import NEURON_STAGES
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.runs.create import refuse_cancelled
from worker.outages import retry_while_db_down

log = logging.getLogger(__name__)


@click.command()
@click.argument("name", required=False)
@click.option("--class", "failure_class", help="Reset only failures of this class.")
@click.option("--stage", type=click.Choice(NEURON_STAGES), help="Reset only this stage.")
@click.option("--layer", type=int, help="Reset only this layer.")
def retry(
    name: str | None, failure_class: str | None, stage: str | None, layer: int | None
) -> None:
    """Reset failed neurons of run NAME, or the latest one, so that the next resume tries them."""
    engine = open_engine()
    run = find_run(engine, name)
    refuse_cancelled(run)

    def put_back() -> int:
        with transaction(engine) as connection:
            count = retry_failures(
                connection, run.id, failure_class=failure_class, stage=stage, layer=layer
            )
            # What was put back is rolled back if the run was cancelled meanwhile.
            if count and not runs.reopen(connection, run.id):
                refuse_cancelled(runs.get(connection, run.id))
            return count

    count = retry_while_db_down(put_back)
    if count:
        log.info("failures retried", extra={"run": run.name, "failures": count})
    click.echo(f"{count} failures will be tried again: neurogloss resume {run.name}")
