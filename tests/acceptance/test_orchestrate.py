"""The service `orchestrate`: it begins runs, follows every one, and un-pauses none."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests.support.command_line_runs import LOOKUP, rows

ROOT = Path(__file__).parents[2]
SMALL = LOOKUP.replace("per_layer = 96", "per_layer = 8")


@contextmanager
def started(cli, *arguments, until_s=20):
    """A process of the command line for as long as the block lasts."""
    process = cli.start(*arguments)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        print(process.communicate(timeout=until_s)[0])  # where a test fails


def state_within(cli, name, state, seconds=150):
    """Wait for a run to be in a state; return whether it gets there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if {"name": name, "state": state} in rows(cli, "SELECT name, state FROM run"):
            return True
        time.sleep(0.5)
    return False


def written(cli, name):
    path = cli.home / f"{name}.toml"
    cli.home.mkdir(exist_ok=True)
    path.write_text(SMALL.replace('name = "tiny"', f'name = "{name}"'))
    return str(path)


def healthcheck(cli):
    """Return what the healthcheck of the container says of the service."""
    env = cli.env | {"DATABASE_URL": database_url(cli)}
    done = subprocess.run(
        [sys.executable, "deploy/healthcheck.py", "loop"],
        cwd=ROOT,
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stderr


def database_url(cli):
    """Return where the embedded database of the command line listens."""
    code = (
        "from orchestrator.environment import find_environment as f; "
        "print(f().settings.database_url)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=cli.env, capture_output=True, text=True)
    return done.stdout.strip()


@contextmanager
def workers(cli):
    """One worker of each kind; the database has to be there."""
    with started(cli, "worker", "gpu"), started(cli, "worker", "api"):
        yield


def test_every_run_is_followed_and_a_paused_one_waits_for_a_person(cli):
    first, second = written(cli, "first"), written(cli, "second")
    with started(cli, "orchestrate", first):
        assert state_within(cli, "first", "running")
        with workers(cli):
            # Begun by somebody else, who does not stay to follow it.
            other = cli.start("run", second, "--local-workers", "gpu=0,api=0")
            assert state_within(cli, "second", "running")
            os.killpg(other.pid, signal.SIGKILL)
            other.communicate()
            assert cli.run("pause", "second")[0] == 0
            assert state_within(cli, "first", "done")
            # A start of the service leaves it paused, even where its file is one that is named.
            with started(cli, "orchestrate", first, second):
                time.sleep(4)
                assert state_within(cli, "second", "paused", seconds=1)
            resumed = cli.start("resume", "second")
            assert state_within(cli, "second", "done")
            resumed.communicate(timeout=60)


def test_a_file_that_is_refused_is_named_until_it_is_mended_while_others_are_followed(cli):
    good, bad = written(cli, "good"), written(cli, "bad")
    mended = Path(bad).read_text()
    Path(bad).write_text(mended.replace("[corpus]", "[corpsu]"))
    with started(cli, "orchestrate", bad, good):
        assert state_within(cli, "good", "running")
        code, reason = healthcheck(cli)
        assert code == 1
        assert "corpsu" in reason
        Path(bad).write_text(mended)
        assert state_within(cli, "bad", "running")
        deadline = time.monotonic() + 60
        while healthcheck(cli)[0] != 0 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert healthcheck(cli) == (0, "")
