"""The command `retry`: try failed neurons again."""

import click

from neurogloss.errors import FAILURE_CLASSES
from neurogloss.stages import NEURON_STAGES
from orchestrator import controls
from orchestrator.cli.options import json_option
from orchestrator.cli.run_lookup import find_run, open_engine
from orchestrator.cli.terminal.json_output import print_json


@click.command()
@click.argument("name", required=False)
@click.option(
    "--class",
    "failure_class",
    type=click.Choice(FAILURE_CLASSES),
    metavar="CLASS",
    help="Reset only failures of this class, as `status` names it.",
)
@click.option("--stage", type=click.Choice(NEURON_STAGES), help="Reset only this stage.")
@click.option("--layer", type=int, help="Reset only this layer.")
@json_option
def retry(
    name: str | None,
    failure_class: str | None,
    stage: str | None,
    layer: int | None,
    as_json: bool,
) -> None:
    """Reset failed neurons of run NAME, or the latest one, so that the next resume tries them."""
    engine = open_engine()
    run = find_run(engine, name)
    count = controls.retry(engine, run, failure_class=failure_class, stage=stage, layer=layer)
    if as_json:
        print_json({"run": run.name, "failures": count})
    else:
        click.echo(f"{count} failures will be tried again: neurogloss resume {run.name}")
