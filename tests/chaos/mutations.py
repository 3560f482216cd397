"""Shows that the harness misses every protection: `python -m tests.chaos.mutations`.

Each protection is taken out of the processes of a world of its own. Undisturbed, a run must still
be as it should be; disturbed by the faults that the protection is for, it must not.
"""

import signal
import sys
import tempfile
from pathlib import Path

import click

from tests.chaos.injected.mutations import MUTATIONS, Mutation
from tests.chaos.schedule import Stage
from tests.chaos.world import World

NEURONS, DEADLINE_S = 24, 90.0


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MUTATIONS)))
def main(names: tuple[str, ...]) -> None:
    """Take one protection out after the other; exit code 1 if the harness does not notice."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the world outlives it
    lines = [f"{name:12} {_noticed(name, MUTATIONS[name])}" for name in names or MUTATIONS]
    sys.exit(1 if any(_SURVIVED in line for line in lines) else 0)


_SURVIVED = "NOT NOTICED"


def _noticed(name: str, mutation: Mutation) -> str:
    found = _find(name, mutation)
    click.echo(f"{name}: without `{mutation.protection}`: {found}")
    return found


def _find(name: str, mutation: Mutation) -> str:
    folder = tempfile.TemporaryDirectory(prefix="neurogloss-chaos-")
    with folder as path, World(Path(path), name) as world:
        stage = Stage(world, NEURONS, DEADLINE_S, mutation.shard)
        if wrong := stage.rehearse().wrong:
            return f"{_SURVIVED}: it is wrong undisturbed too: {wrong[0]}"
        for seed in mutation.seeds:
            outcome = stage.run(seed, mutation.kinds, mutation.faults)
            if outcome.wrong:
                seen = "; ".join(wrong.splitlines()[0][:120] for wrong in outcome.wrong[:3])
                return f"noticed at seed {seed}: {seen}"
    return _SURVIVED


if __name__ == "__main__":
    main()
