"""Runs schedules of faults: `python -m tests.chaos`. Exit code 1: a dataset was lost or changed."""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from tests.chaos.faults import KINDS
from tests.chaos.injected.mutations import MUTATIONS
from tests.chaos.outcome import Outcome, read_outcomes
from tests.chaos.table import line, table
from tests.chaos.worlds import Schedule, Worlds

NEURONS = 12  # of each of two layers


@click.command()
@click.option("--seed", default=0, show_default=True, help="Of the first schedule.")
@click.option("--schedules", default=1, show_default=True)
@click.option("--faults", default=10, show_default=True, help="In each schedule.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only these.")
@click.option("--neurons", default=NEURONS, show_default=True, help="Of each of two layers.")
@click.option("--worlds", "n_worlds", default=2, show_default=True, help="Beside each other.")
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
    n_worlds: int,
    mutation: str | None,
    keep: Path | None,
    results: Path | None,
) -> None:
    """Disturb small runs with faults, and compare what they leave with an undisturbed one."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the worlds outlive it
    outcomes = read_outcomes(results) if results else []
    done = {outcome.seed for outcome in outcomes}
    seeds = [number for number in range(seed, seed + schedules) if number not in done]
    to_do = [Schedule(number, kinds or tuple(KINDS), faults) for number in seeds]
    with tempfile.TemporaryDirectory(prefix="neurogloss-chaos-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        worlds = Worlds(folder, neurons, to_do, min(n_worlds, len(to_do)), mutation or "")
        for outcome in _printed(worlds) if to_do else ():
            outcomes.append(outcome)
            if results:
                outcome.append_to(results)
    click.echo(table(outcomes))
    wrong = [outcome.seed for outcome in outcomes if outcome.wrong]
    for number in wrong:
        click.echo(f"once more: python -m tests.chaos --seed {number} --faults {faults}")
    sys.exit(1 if wrong else 0)


def _printed(worlds: Worlds) -> Iterator[Outcome]:
    """Yield the outcome of each schedule as it ends, and print it."""
    with worlds:
        for left_out in worlds.rehearsed.left_out:
            click.echo(left_out)
        click.echo(f"undisturbed: {worlds.rehearsed.seconds:.0f} s as it should be")
        for outcome in worlds.outcomes():
            click.echo(line(outcome, worlds.rehearsed.seconds))
            yield outcome


if __name__ == "__main__":
    began = time.monotonic()
    try:
        main()
    finally:
        click.echo(f"{time.monotonic() - began:.0f} s in all")
