import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from orchestrator.local.errors import WorkerCrashed
from orchestrator.local.workers import LocalWorkers, worker_command
from worker.parent_watch import PARENT_FD, exit_with_parent

# As long as it lives it holds a lock, which a process that only waits to be reaped does not.
WORKER = """
import fcntl, os, pathlib, signal, subprocess, sys, time
from worker import parent_watch

folder, kind, name, behaviour = sys.argv[1:]
lock = open(f"{folder}/{name}.alive", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent_watch.GRACE_SECONDS = 0.2
    subprocess.Popen(["sleep", "600"], pass_fds=[lock.fileno()])  # one of its pool
parent_watch.exit_with_parent()
print(f"{kind} {name} {os.environ['COLOUR']}", flush=True)
pathlib.Path(folder, f"{name}.pid").write_text(str(os.getpid()))
time.sleep(600)
"""

COMMAND = """
import signal, sys, time
from pathlib import Path
from orchestrator.local.workers import LocalWorkers

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests were started by
folder, worker, behaviour = sys.argv[1:]
def command(kind, name):
    return [sys.executable, "-c", worker, folder, kind, name, behaviour]
with LocalWorkers(gpu=1, api=2, env={"COLOUR": "red"}, log_folder=Path(folder), command=command):
    time.sleep(600)
"""

NAMES = ["gpu-1", "api-1", "api-2"]


@pytest.fixture
def make_workers(tmp_path):
    def make(gpu=1, api=2, behaviour="obedient", grace=20.0):
        return LocalWorkers(
            gpu=gpu,
            api=api,
            env={"COLOUR": "red"},
            log_folder=tmp_path,
            grace=grace,
            command=lambda kind, name: [
                *(sys.executable, "-c", WORKER, str(tmp_path), kind, name, behaviour)
            ],
        )

    return make


def eventually(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_for_pid(folder, name, other_than=0):
    file = folder / f"{name}.pid"
    assert eventually(lambda: file.exists() and file.read_text() not in ("", str(other_than)))
    return int(file.read_text())


def lives(folder, name):
    """Whether the worker, or a process it started, holds the worker's lock."""
    with (folder / f"{name}.alive").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_workers_run_while_the_context_is_open_and_log_to_a_file_each(make_workers, tmp_path):
    with make_workers() as workers:
        for name in NAMES:
            wait_for_pid(tmp_path, name)
            assert lives(tmp_path, name)
        assert workers.ensure_alive() == []
    assert not any(lives(tmp_path, name) for name in NAMES)
    assert (tmp_path / "gpu-1.log").read_text() == "gpu gpu-1 red\n"
    assert (tmp_path / "api-2.log").read_text() == "api api-2 red\n"


@pytest.mark.parametrize(
    ("gpu", "given", "expected"),
    [(1, None, None), (2, None, "4"), (3, None, "2"), (9, None, "1"), (2, "5", "5")],
    ids=["one has all", "halves", "thirds", "at least one each", "the user's"],
)
def test_gpu_workers_share_the_cores(gpu, given, expected, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    told = "import os, time; print(os.environ.get('OMP_NUM_THREADS'), flush=True); time.sleep(600)"
    command = [sys.executable, "-c", told]
    with LocalWorkers(
        gpu=gpu, api=0, env={}, log_folder=tmp_path, command=lambda kind, name: command, grace=0
    ):
        logs = [tmp_path / f"gpu-{number + 1}.log" for number in range(gpu)]
        assert eventually(lambda: all(log.exists() and log.read_text() for log in logs))
        assert {log.read_text() for log in logs} == {f"{expected}\n"}


def test_a_killed_worker_is_started_again_and_its_log_goes_on(make_workers, tmp_path):
    with make_workers(gpu=0, api=2) as workers:
        pid = wait_for_pid(tmp_path, "api-2")
        os.kill(pid, signal.SIGKILL)
        lines = []
        assert eventually(lambda: lines.extend(workers.ensure_alive()) or lines)
        assert lines == ["api-2 died (exit code -9): restarted"]
        wait_for_pid(tmp_path, "api-2", other_than=pid)
        assert workers.ensure_alive() == []
        assert lives(tmp_path, "api-2")
    assert (tmp_path / "api-2.log").read_text() == "api api-2 red\n" * 2


def test_what_a_killed_worker_left_of_its_pool_is_ended_before_the_next(make_workers, tmp_path):
    with make_workers(gpu=1, api=0, behaviour="stubborn", grace=0.1) as workers:
        pid = wait_for_pid(tmp_path, "gpu-1")
        os.kill(pid, signal.SIGKILL)
        assert lives(tmp_path, "gpu-1")
        assert eventually(workers.ensure_alive)
        # The next one waits for the lock, so it gets as far as this only without the old pool.
        wait_for_pid(tmp_path, "gpu-1", other_than=pid)


def test_a_worker_that_does_not_stop_is_killed_after_the_grace(make_workers, tmp_path):
    with make_workers(gpu=1, api=1, behaviour="stubborn", grace=0.3):
        for name in ("gpu-1", "api-1"):
            wait_for_pid(tmp_path, name)
        start = time.monotonic()
    assert 0.3 <= time.monotonic() - start < 5
    assert eventually(lambda: not any(lives(tmp_path, name) for name in ("gpu-1", "api-1")))


@pytest.mark.parametrize("behaviour", ["obedient", "stubborn"])
def test_workers_end_with_a_command_that_is_killed_outright(tmp_path, behaviour):
    command = subprocess.Popen([sys.executable, "-c", COMMAND, str(tmp_path), WORKER, behaviour])
    for name in NAMES:
        wait_for_pid(tmp_path, name)
    command.kill()
    command.wait()
    assert eventually(lambda: not any(lives(tmp_path, name) for name in NAMES))


def test_an_interrupt_ends_the_workers_through_the_command_alone(tmp_path):
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(tmp_path), WORKER, "obedient"],
        process_group=0,
        stderr=subprocess.DEVNULL,
    )
    for name in NAMES:
        wait_for_pid(tmp_path, name)
    os.killpg(command.pid, signal.SIGINT)  # as Ctrl-C does
    assert command.wait() == -signal.SIGINT
    assert not any(lives(tmp_path, name) for name in NAMES)
    assert "KeyboardInterrupt" not in (tmp_path / "gpu-1.log").read_text()


def test_a_worker_that_dies_again_and_again_ends_the_run_with_its_last_words(tmp_path):
    workers = LocalWorkers(
        gpu=0,
        api=1,
        env={},
        log_folder=tmp_path / "logs",
        command=lambda kind, name: [
            sys.executable,
            "-S",
            "-c",
            "raise SystemExit('no such model')",
        ],
    )
    lines = []
    with workers, pytest.raises(WorkerCrashed, match="api-1 died 5 times within 60 s") as caught:
        eventually(lambda: lines.extend(workers.ensure_alive()))
    assert lines == ["api-1 died (exit code 1): restarted"] * 4
    assert str(tmp_path / "logs" / "api-1.log") in str(caught.value)
    assert str(caught.value).endswith("no such model")


def test_workers_that_cannot_be_started_leave_none_behind(tmp_path):
    def command(kind, name):
        if kind == "api":
            wait_for_pid(tmp_path, "gpu-1")
            return [str(tmp_path / "missing")]
        return [sys.executable, "-c", WORKER, str(tmp_path), kind, name, "obedient"]

    workers = LocalWorkers(gpu=1, api=1, env={"COLOUR": ""}, log_folder=tmp_path, command=command)
    with pytest.raises(FileNotFoundError, match="missing"), workers:
        pytest.fail("the context opened")
    assert not lives(tmp_path, "gpu-1")


def test_workers_are_started_by_the_command_line_of_this_interpreter():
    assert worker_command("gpu", "gpu-1") == [
        *(sys.executable, "-m", "orchestrator", "worker", "gpu", "--name", "gpu-1")
    ]


def test_a_worker_that_no_command_started_watches_nobody(monkeypatch):
    monkeypatch.delenv(PARENT_FD, raising=False)
    exit_with_parent()


@pytest.mark.parametrize("value", ["", "x", "0.5", "99999"])
def test_a_descriptor_that_is_no_pipe_is_refused(monkeypatch, value):
    monkeypatch.setenv(PARENT_FD, value)
    with pytest.raises(ValueError, match=f"{PARENT_FD}={value} is not an open pipe"):
        exit_with_parent()
