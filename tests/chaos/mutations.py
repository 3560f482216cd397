"""Shows that every protection is missed: `python -m tests.chaos.mutations`.

Each protection is taken out of the processes of a world of its own. Undisturbed, a run must still
be as it should be; disturbed by the faults that the protection is for, it must not. Where that
takes luck, a test by name must fail instead.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.chaos.injected.mutations import MUTATIONS, Mutation
from tests.chaos.injected.tested import TESTED, TestedMutation
from tests.chaos.operator import ROOT
from tests.chaos.schedule import Stage
from tests.chaos.world import World

NEURONS, DEADLINE_S = 24, 90.0
TEST_S = 300.0
_SURVIVED = "NOT NOTICED"
_TESTS_FAILED = 1  # exit code of pytest; others say that it could not run them
_FAILED = ("\nFAILED ", "+++ Timeout +++")
_OPTIONS = (
    "--timeout=60",
    "--timeout-method=thread",  # a signal does not end a wait for the database
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",  # of what was imported to be changed
)

ALL = MUTATIONS | TESTED


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(ALL)))
def main(names: tuple[str, ...]) -> None:
    """Take one protection out after the other; exit code 1 if nothing notices."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the world outlives it
    lines = [_noticed(name) for name in names or ALL]
    sys.exit(1 if any(_SURVIVED in line for line in lines) else 0)


def _noticed(name: str) -> str:
    began = time.monotonic()
    mutation = ALL[name]
    found = (
        _by_test(name, mutation)
        if isinstance(mutation, TestedMutation)
        else _by_schedules(name, mutation)
    )
    seconds = time.monotonic() - began
    click.echo(f"{name}: without `{mutation.protection}`: {found} ({seconds:.0f} s)")
    return found


def _by_schedules(name: str, mutation: Mutation) -> str:
    folder = tempfile.TemporaryDirectory(prefix="neurogloss-chaos-")
    with folder as path, World(Path(path), name) as world:
        stage = Stage(world, NEURONS, DEADLINE_S, mutation.shard)
        if wrong := stage.rehearse_one(has_every_stage=False).wrong:
            return f"{_SURVIVED}: it is wrong undisturbed too: {wrong[0]}"
        for seed in mutation.seeds:
            outcome = stage.run(seed, mutation.kinds, mutation.faults)
            if outcome.wrong:
                seen = "; ".join(wrong.splitlines()[0][:120] for wrong in outcome.wrong[:3])
                return f"noticed at seed {seed}: {seen}"
    return _SURVIVED


def _by_test(name: str, mutation: TestedMutation) -> str:
    injected = Path(__file__).parent / "injected"
    paths = {"PYTHONPATH": f"{injected}{os.pathsep}{ROOT}", "CHAOS_MUTATION": name}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *_OPTIONS,
        mutation.test,
    ]
    done = subprocess.run(
        command,
        env=os.environ | paths,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=TEST_S,
    )
    said = done.stdout + done.stderr
    if done.returncode == _TESTS_FAILED and any(words in said for words in _FAILED):
        return f"noticed by {mutation.test}"
    return f"{_SURVIVED} by {mutation.test}: {said[-1500:]}"


if __name__ == "__main__":
    main()
