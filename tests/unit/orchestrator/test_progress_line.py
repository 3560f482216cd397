"""The line of progress that `run` prints where its output is no terminal."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

from rich.console import Console

from db.progress import RunProgress, StageProgress, StepProgress
from orchestrator.cli.terminal.progress import ProgressDisplay, progress_line


def stage(name, done, total, **changes):
    values = dict.fromkeys(StageProgress.__dataclass_fields__, 0)
    values |= {"stage": name, "done": done, "total": total, "eta": None}
    return StageProgress(**values | changes)


def progress(done=512, under_way=Decimal(40), read=2.25):
    eta = timedelta(minutes=3)
    return RunProgress(
        [stage("collect", done, 4000, under_way=under_way, eta=eta), stage("explain", 0, 9600)],
        [],
        [],
        [
            StepProgress("r", "reference", 2, 2, 0.0),
            StepProgress("r", "read", 4, 1, read - 1),
            StepProgress("r", "select", 6, 0, 0.0),
        ],
    )


def test_the_line_names_open_steps_what_is_under_way_and_the_time_left():
    assert progress_line(progress()) == (
        "collect 512/4,000 +40 (read 2.25/4), 0:03:00 left   explain 0/9,600"
    )


def test_equal_lines_are_printed_once(monkeypatch):
    monkeypatch.setattr("orchestrator.cli.terminal.progress.PLAIN_EVERY_S", 0.0)
    found = iter([progress(), progress(), progress(read=2.5), progress(read=2.5)])
    output = StringIO()
    with ProgressDisplay(Console(file=output, width=200), "r", lambda: next(found)) as display:
        for _ in range(3):
            display.update()
    assert [line.count("read") for line in output.getvalue().splitlines()] == [1, 1]
