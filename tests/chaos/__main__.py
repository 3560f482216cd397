"""Runs schedules of faults: `python -m tests.chaos`. Exit code 1: a dataset was lost or changed."""

import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import click

from tests.chaos.faults import KINDS
from tests.chaos.injected.mutations import MUTATIONS
from tests.chaos.schedule import Injected, Outcome, Stage
from tests.chaos.world import World

NEURONS = 24  # of each of two layers


@click.command()
@click.option("--seed", default=0, show_default=True, help="Of the first schedule.")
@click.option("--schedules", default=1, show_default=True)
@click.option("--faults", default=10, show_default=True, help="In each schedule.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only these.")
@click.option("--neurons", default=NEURONS, show_default=True, help="Of each of two layers.")
@click.option("--mutation", type=click.Choice(list(MUTATIONS)), help="Take a protection out.")
@click.option("--keep", type=click.Path(path_type=Path), help="A new folder, which is left.")
def main(
    seed: int,
    schedules: int,
    faults: int,
    kinds: tuple[str, ...],
    neurons: int,
    mutation: str | None,
    keep: Path | None,
) -> None:
    """Disturb small runs with faults, and compare what they leave with an undisturbed one."""
    outcomes = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the world outlives it
    with tempfile.TemporaryDirectory(prefix="neurogloss-chaos-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        with World(folder, mutation or "") as world:
            if not world.has_small_disk:
                click.echo("no small disk can be mounted here: no disk is filled")
            stage = Stage(world, neurons)
            rehearsed = stage.rehearse()
            click.echo(f"undisturbed: {rehearsed.seconds:.0f} s {_verdict(rehearsed)}")
            for number in range(seed, seed + schedules):
                outcomes.append(stage.run(number, list(kinds or KINDS), faults))
                click.echo(_line(outcomes[-1], stage.undisturbed_s))
    click.echo(table(outcomes))
    lost = [outcome.seconds - stage.undisturbed_s for outcome in outcomes]
    click.echo(
        f"{sum(lost):.0f} s lost in {len(lost)} schedules; calls repeated: "
        f"{sum(o.repeated for o in outcomes)} of at most {sum(o.bound for o in outcomes)}; "
        f"{sum(bool(o.wrong) for o in outcomes)} datasets are wrong"
    )
    wrong = [outcome for outcome in outcomes if outcome.wrong] or rehearsed.wrong
    for outcome in outcomes:
        if outcome.wrong:
            click.echo(f"once more: python -m tests.chaos --seed {outcome.seed} --faults {faults}")
    sys.exit(1 if wrong else 0)


def _line(outcome: Outcome, undisturbed_s: float) -> str:
    return (
        f"seed {outcome.seed}: {len(outcome.injected)} faults, {outcome.seconds:.0f} s "
        f"({outcome.seconds - undisturbed_s:+.0f} s), {outcome.repeated} of at most "
        f"{outcome.bound} calls repeated, {_verdict(outcome)}"
    )


def _verdict(outcome: Outcome) -> str:
    return "\n  ".join(["WRONG", *outcome.wrong]) if outcome.wrong else "as it should be"


def table(outcomes: Sequence[Outcome]) -> str:
    """Return what became of the faults, by kind."""
    by_kind: dict[str, list[tuple[Injected, bool]]] = defaultdict(list)
    for outcome in outcomes:
        for fault in outcome.injected:
            recovered = not outcome.wrong and fault.healed and fault.next_result_s is not None
            by_kind[fault.kind].append((fault, recovered))
    head = ("fault", "injected", "recovered", "s to next result", "most", "calls repeated")
    lines = [f"{head[0]:34}{head[1]:>9}{head[2]:>10}{head[3]:>18}{head[4]:>7}{head[5]:>16}"]
    for kind in KINDS:
        lines += [_row(kind, by_kind[kind])] if by_kind[kind] else []
    return "\n".join([*lines, _row("all", [pair for found in by_kind.values() for pair in found])])


def _row(name: str, found: Sequence[tuple[Injected, bool]]) -> str:
    waits = [fault.next_result_s for fault, _ in found if fault.next_result_s is not None] or [0.0]
    recovered = sum(good for _, good in found)
    repeated = sum(fault.repeated for fault, _ in found)
    mean = sum(waits) / len(waits)
    return f"{name:34}{len(found):9}{recovered:10}{mean:18.1f}{max(waits):7.1f}{repeated:16}"


if __name__ == "__main__":
    began = time.monotonic()
    try:
        main()
    finally:
        click.echo(f"{time.monotonic() - began:.0f} s in all")
