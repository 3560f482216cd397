"""How far a run is. What failures quote is untrusted: no markup, no escapes."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from db.progress import FailureGroup, RunCost, RunProgress, StepProgress
from db.unanswered import Unanswered
from neurogloss.stages import COLLECT
from orchestrator.cli.terminal.plain import plain
from orchestrator.cli.terminal.whole_table import WholeTable

LIVE_EVERY_S = 0.5
# Between lines where the output is no terminal: it may be a log file. With the time that it takes
# to look, a line comes at least every ten seconds.
PLAIN_EVERY_S = 9.0
SAME_EVERY_S = 300.0  # between equal lines, which show that the command lives
EXAMPLE_CHARACTERS = 90  # of the message of a failure: it may quote a whole answer


def progress_table(name: str, progress: RunProgress) -> Group:
    """Return the table of a run's stages, with its cost and its failures below."""
    numbers = ("done", "total", "%", "failed", "in flight", "per minute", "ETA")
    table = WholeTable(f"run {name}", texts=("stage",), numbers=numbers)
    for stage in progress.stages:
        table.add_row(
            f"{stage.stage} ({stage.unit})",
            f"{stage.done:,}",
            f"{stage.total:,}",
            f"{stage.percent or 0:.1f}",
            f"{stage.failed:,}",
            f"{stage.in_flight:,}",
            f"{stage.per_minute:,.0f}",
            _eta(stage.eta),
        )
    steps = _open_steps(progress.steps)
    below = [Text(f"collect: {steps}")] if steps else []
    below += [Text(_cost(progress.costs)), *map(_failure_line, progress.failures)]
    below += map(_unanswered_line, progress.unanswered)
    return Group(table, *below)


def _open_steps(steps: Sequence[StepProgress]) -> str:
    """Return how many shards are done of the steps of collect that have begun."""
    return ", ".join(
        f"{step.step} {step.done + step.under_way:.3g}/{step.shards}"
        for step in steps
        if step.done + step.under_way > 0 and step.done < step.shards
    )


def _eta(eta: timedelta | None) -> str:
    return "-" if eta is None else str(timedelta(seconds=round(eta.total_seconds())))


def _cost(costs: Sequence[RunCost]) -> str:
    usd = sum(cost.usd for cost in costs)
    projected = sum(cost.usd_projected or cost.usd for cost in costs)
    calls = sum(cost.calls for cost in costs)
    return f"calls {calls:,}   cost {usd:.4f} USD   projected {projected:.2f} USD"


def _failure_line(group: FailureGroup) -> Text:
    example = plain(group.example)[:EXAMPLE_CHARACTERS]
    return Text(f"failed in {group.stage}: {group.n:,} x {group.failure_class}, e.g. {example}")


def _unanswered_line(calls: Unanswered) -> Text:
    """Return which requests got no answer lately, and what is being done about it."""
    line = f"no answer from {calls.endpoint} in {calls.stage}: {_counts(calls)}"
    if calls.retried:
        reason = plain(calls.reason)[:EXAMPLE_CHARACTERS]
        line += f"; {calls.retried:,} tried again now, e.g. {reason}"
    if calls.advice:
        line += f" ({calls.advice})"
    return Text(line)


def _counts(calls: Unanswered) -> str:
    counts = [f"{n:,} x {outcome}" for outcome, n in calls.requests.items()]
    return f"{', '.join(counts) or 'none'} in the last 15 minutes"


def progress_line(progress: RunProgress) -> str:
    """Return the progress of all stages on one line, with the open steps of collect and cost."""
    steps, parts = _open_steps(progress.steps), []
    for stage in progress.stages:
        line = f"{stage.stage} {stage.done + stage.failed:,}/{stage.total:,}"
        if stage.under_way:
            line += f" +{stage.under_way:,.0f}"
        if stage.stage == COLLECT and steps:
            line += f" ({steps})"
        parts.append(line if stage.eta is None else f"{line}, {_eta(stage.eta)} left")
    parts += [
        f"no answer from {calls.endpoint}: {_counts(calls)}, {calls.retried:,} tried again now"
        for calls in progress.unanswered
        if calls.retried
    ]
    if progress.costs:
        parts.append(_cost(progress.costs))
    return "   ".join(parts)


class ProgressDisplay:
    """How far a run is, as long as the block lasts: a live table in a terminal, else a line.

    Args:
        console: Where to show it.
        name: The run's name.
        read: Reads the progress; None where it cannot be read now.
    """

    def __init__(self, console: Console, name: str, read: Callable[[], RunProgress | None]) -> None:
        self._console, self._name, self._read = console, name, read
        # What is logged beside the table goes above it, unless it goes elsewhere, as into a file.
        live = partial(Live, auto_refresh=False, redirect_stderr=sys.stderr.isatty())
        self._live = live(console=console) if console.is_terminal else None
        self._shown_at = 0.0
        self._line, self._line_at = "", 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._show()
        if self._live is not None:
            self._live.stop()

    def note(self, line: str) -> None:
        """Print a line that stays; in a log file, after the time in UTC."""
        moment = "" if self._live else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} "
        self._console.print(moment + plain(line), markup=False, highlight=False, soft_wrap=True)

    def update(self) -> None:
        """Show how far the run is, if it is time to."""
        pause = LIVE_EVERY_S if self._live is not None else PLAIN_EVERY_S
        if time.monotonic() - self._shown_at >= pause:
            self._show()

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        progress = self._read()
        if progress is None:
            return
        if self._live is not None:
            self._live.update(progress_table(self._name, progress), refresh=True)
        else:
            self._show_line(progress_line(progress))

    def _show_line(self, line: str) -> None:
        """Print a line unless it says what the last one said, and that a moment ago."""
        if line != self._line or time.monotonic() - self._line_at >= SAME_EVERY_S:
            self._line, self._line_at = line, time.monotonic()
            self.note(line)
