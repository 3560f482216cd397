"""How the command `run` is called."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.actions import action
from orchestrator.cli.logs import level_beside_a_display, log_options
from orchestrator.cli.options import json_option


class _LocalWorkers(click.ParamType[dict[str, int]]):
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
    type=_LocalWorkers(),
    help="Workers to start on this machine. Default with embedded services: gpu=1,api=1.",
)
@click.option(
    "--wait-while-paused",
    is_flag=True,
    help="Leave a paused run paused, and follow it once `neurogloss resume` has resumed it.",
)
@json_option
@log_options(level_beside_a_display)
def run(**given: Any) -> None:
    """Start the run that CONFIG describes, or resume it, and follow it to its end.

    Exit code 0: every neuron has a score or a reason for none. 2: the input is wrong. 3: the run
    ended with failed neurons. 4: it is paused or cancelled, or the probe of an endpoint failed.
    """
    action("run")(**given)
