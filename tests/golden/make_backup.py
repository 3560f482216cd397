"""Writes `before.dump`: a finished run, two that were killed on their way, and an imported one.

`python -m tests.golden.make_backup` starts from nothing and takes some minutes. A new file is of
the code of today: it says nothing any more about what older code has stored.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.golden.derived import write_dataset
from tests.golden.project import FaultRates
from tests.golden.stored import BACKUP, CONFIGS, DONE, HALF, IMPORTED, READING, WHOLE
from tests.golden.world import CommandLine, command_line, rehearsal_server

States = Mapping[tuple[str, str, str], int]


def make(path: Path) -> None:
    """Write the backup."""
    with (
        tempfile.TemporaryDirectory() as folder,
        command_line() as cli,
        rehearsal_server(faults=FaultRates(), latency_ms=300.0),
    ):
        write_dataset(Path(folder) / "dataset")
        _succeed(cli, "import", str(Path(folder) / "dataset"), "--name", IMPORTED)
        for name, text in CONFIGS.items():
            (Path(folder) / f"{name}.toml").write_text(text, encoding="utf-8")
        _succeed(cli, "run", str(Path(folder) / f"{WHOLE}.toml"))
        _kill_when(cli, Path(folder) / f"{HALF}.toml", HALF, _is_half_done)
        _kill_when(cli, Path(folder) / f"{READING}.toml", READING, _is_half_read)
        for name in (HALF, READING):
            print(name, _states(cli, name))
        path.unlink(missing_ok=True)
        _succeed(cli, "backup", str(path))


def _succeed(cli: CommandLine, *arguments: str) -> None:
    code, output = cli.run(*arguments)
    if code:
        raise SystemExit(f"{arguments[0]} exits with {code}:\n{output}")


def _kill_when(
    cli: CommandLine, config: Path, name: str, is_time: Callable[[States], bool]
) -> None:
    """Start a run, and kill it and its workers at once when it is time."""
    process = cli.start("run", str(config))
    while not is_time(_states(cli, name)):
        if process.poll() is not None:
            raise SystemExit(f"{name} ended too early:\n{cli.end(process)[1]}")
        time.sleep(0.02)
    cli.kill(process)
    time.sleep(5)  # until its workers have ended too


def _states(cli: CommandLine, name: str) -> States:
    rows = cli.rows(DONE.format(name=name))
    return {(row["stage"], row["step"] or "", row["state"]): row["n"] for row in rows}


def _is_half_done(states: States) -> bool:
    """All neurons have sentences, some have a revised explanation, none has a score."""
    return states.get(("revise", "", "done"), 0) >= 2 and _unfinished(states, "revise") > 0


def _is_half_read(states: States) -> bool:
    """A part of the corpus is read, and no records are chosen yet."""
    unread = sum(n for (_, step, state), n in states.items() if step == "read" and state != "done")
    return states.get(("collect", "read", "done"), 0) >= 2 and unread >= 2


def _unfinished(states: States, stage: str) -> int:
    return sum(n for (found, _, state), n in states.items() if found == stage and state != "done")


if __name__ == "__main__":
    make(BACKUP)
