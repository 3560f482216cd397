"""The line of progress that `run` prints where its output is no terminal."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import StringIO

from rich.console import Console

from db.progress import RunProgress, StageProgress, StepProgress
from db.unanswered import Unanswered
from orchestrator.cli.terminal.progress import ProgressDisplay, progress_line, progress_table


def stage(name, done, total, **changes):
    values = dict.fromkeys(StageProgress.__dataclass_fields__, 0)
    values |= {"stage": name, "done": done, "total": total, "eta": None}
    return StageProgress(**values | changes)


def progress(done=512, under_way=Decimal(40), read=2.25, unanswered=()):
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
        list(unanswered),
    )


def test_the_line_names_open_steps_what_is_under_way_and_the_time_left():
    assert progress_line(progress()) == (
        "collect 512/4,000 +40 (read 2.25/4), 0:03:00 left   explain 0/9,600"
    )


def test_requests_without_an_answer_are_told_while_calls_are_tried_again():
    requests = {"timeout": 8, "unavailable": 1}
    reason = "no answer from the endpoint: it is not complete after 120 s\x1b[2J"
    calls = Unanswered("simulate", "local", "m", requests, 3, reason)
    assert progress_line(progress(unanswered=[calls])).endswith(
        "no answer from local: 8 x timeout, 1 x unavailable in the last 15 minutes, "
        "3 tried again now"
    )
    assert "no answer" not in progress_line(progress(unanswered=[replace(calls, retried=0)]))
    output = StringIO()
    Console(file=output, width=500).print(progress_table("r", progress(unanswered=[calls])))
    *_, last = output.getvalue().splitlines()
    assert last.startswith("no answer from local in simulate: 8 x timeout, 1 x unavailable in")
    assert "3 tried again now, e.g. no answer from the endpoint: it is not complete" in last
    assert "raise endpoints.local.timeout_s, or lower its max_in_flight" in last
    assert "\x1b" not in last


def test_equal_lines_are_printed_once(monkeypatch):
    monkeypatch.setattr("orchestrator.cli.terminal.progress.PLAIN_EVERY_S", 0.0)
    found = iter([progress(), progress(), progress(read=2.5), progress(read=2.5)])
    output = StringIO()
    with ProgressDisplay(Console(file=output, width=200), "r", lambda: next(found)) as display:
        for _ in range(3):
            display.update()
    lines = output.getvalue().splitlines()
    assert [line.count("read") for line in lines] == [1, 1]
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:]{8}Z collect", line) for line in lines)
