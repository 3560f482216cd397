"""Runs schedules of faults: `python -m tests.chaos`. Exit code 1: a dataset was lost or changed."""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from tests.chaos import pooler
from tests.chaos.faults import KINDS
from tests.chaos.injected.mutations import MUTATIONS
from tests.chaos.outcome import Outcome, read_outcomes
from tests.chaos.schedule import Stage
from tests.chaos.table import line, table, verdict
from tests.chaos.world import World

NEURONS = 12  # of each of two layers


@click.command()
@click.option("--seed", default=0, show_default=True, help="Of the first schedule.")
@click.option("--schedules", default=1, show_default=True)
@click.option("--faults", default=10, show_default=True, help="In each schedule.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only these.")
@click.option("--neurons", default=NEURONS, show_default=True, help="Of each of two layers.")
@click.option("--mutation", type=click.Choice(list(MUTATIONS)), help="Take a protection out.")
@click.option("--keep", type=click.Path(path_type=Path), help="A new folder, which is left.")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="A file of outcomes: schedules that it has are not run again, and count in the table.",
)
def main(
    seed: int,
    schedules: int,
    faults: int,
    kinds: tuple[str, ...],
    neurons: int,
    mutation: str | None,
    keep: Path | None,
    results: Path | None,
) -> None:
    """Disturb small runs with faults, and compare what they leave with an undisturbed one."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the world outlives it
    outcomes = read_outcomes(results) if results else []
    done = {outcome.seed for outcome in outcomes}
    seeds = [number for number in range(seed, seed + schedules) if number not in done]
    with tempfile.TemporaryDirectory(prefix="neurogloss-chaos-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        for outcome in _run(folder, mutation or "", neurons, seeds, kinds or tuple(KINDS), faults):
            outcomes.append(outcome)
            if results:
                outcome.append_to(results)
    click.echo(table(outcomes))
    wrong = [outcome.seed for outcome in outcomes if outcome.wrong]
    for number in wrong:
        click.echo(f"once more: python -m tests.chaos --seed {number} --faults {faults}")
    sys.exit(1 if wrong else 0)


def _run(
    folder: Path,
    mutation: str,
    neurons: int,
    seeds: list[int],
    kinds: tuple[str, ...],
    faults: int,
) -> Iterator[Outcome]:
    """Yield the outcome of each schedule, which is printed."""
    with World(folder, mutation) as world:
        for left_out in _left_out(world):
            click.echo(left_out)
        stage = Stage(world, neurons)
        rehearsed = stage.rehearse()
        click.echo(f"undisturbed: {rehearsed.seconds:.0f} s {verdict(rehearsed)}")
        if rehearsed.wrong:
            sys.exit(1)
        for number in seeds:
            outcome = stage.run(number, kinds, faults)
            click.echo(line(outcome, stage.undisturbed_s))
            yield outcome


def _left_out(world: World) -> Iterator[str]:
    """Yield which faults this machine cannot make."""
    if not world.has_small_disk:
        yield "no small disk can be mounted here: no disk is filled"
    if not world.clock.can_jump:
        yield "libfaketime is not installed: the database's clock does not jump"
    if pooler.program() is None:
        yield "pgbouncer is not installed: no run goes by way of a pooler"


if __name__ == "__main__":
    began = time.monotonic()
    try:
        main()
    finally:
        click.echo(f"{time.monotonic() - began:.0f} s in all")
