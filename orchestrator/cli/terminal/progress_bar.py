"""A bar for commands that read or write many neurons."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# A bar that is shown for less would only flicker.
LONG_S = 2.0


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], Any]]:
    """Yield a function of (done, total) that shows a bar, on a terminal only and after 2 s.

    The bar goes to stderr, so that the output of the command can be piped.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn(unit), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console)
    task, began = bar.add_task(unit), monotonic()

    def say(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if monotonic() - began >= LONG_S and not bar.live.is_started:
            bar.start()

    try:
        yield say
    finally:
        if bar.live.is_started:
            bar.stop()
